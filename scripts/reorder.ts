// Orders the operands of commutative operations for interpreters with one register: what has to be computed comes
// first, what lies in a local second. wasm3 then keeps the running result in its register, where otherwise it puts it
// aside and takes it back.
//
//     x ^ f(y)               becomes    f(y) ^ x
//     (x = e) ^ f(x)         becomes    f(x = e) ^ x        where f begins with x
//
// The module has as many bytes as before. The optimizer must not run afterwards: it orders them the other way round.

/** What is used of the optimizer's interface; an expression is a number. */
export interface Expressions {
  getExpressionId(e: number): number;
  getFunctionInfo(fn: number): { name: string; body: number };
  readonly AddInt32: number;
  readonly AndInt32: number;
  readonly OrInt32: number;
  readonly XorInt32: number;
  readonly AddInt64: number;
  readonly AndInt64: number;
  readonly OrInt64: number;
  readonly XorInt64: number;
  readonly BinaryId: number;
  readonly BlockId: number;
  readonly BreakId: number;
  readonly CallId: number;
  readonly ConstId: number;
  readonly DropId: number;
  readonly GlobalSetId: number;
  readonly IfId: number;
  readonly LoadId: number;
  readonly LocalGetId: number;
  readonly LocalSetId: number;
  readonly LoopId: number;
  readonly MemoryCopyId: number;
  readonly MemoryFillId: number;
  readonly ReturnId: number;
  readonly SelectId: number;
  readonly StoreId: number;
  readonly UnaryId: number;
  readonly Binary: Getters<"getOp" | "getLeft" | "getRight"> & Setters<"setLeft" | "setRight">;
  readonly Block: Getters<"getNumChildren"> & { getChildAt(e: number, index: number): number };
  readonly Break: Getters<"getCondition" | "getValue">;
  readonly Call: Getters<"getNumOperands"> & { getOperandAt(e: number, index: number): number };
  readonly Drop: Getters<"getValue">;
  readonly GlobalSet: Getters<"getValue">;
  readonly If: Getters<"getCondition" | "getIfTrue" | "getIfFalse">;
  readonly Load: Getters<"getPtr"> & Setters<"setPtr">;
  readonly LocalGet: Getters<"getIndex">;
  readonly LocalSet: Getters<"getIndex" | "getValue"> & { isTee(e: number): boolean };
  readonly Loop: Getters<"getBody">;
  readonly MemoryCopy: Getters<"getDest" | "getSource" | "getSize">;
  readonly MemoryFill: Getters<"getDest" | "getValue" | "getSize">;
  readonly Return: Getters<"getValue">;
  readonly Select: Getters<"getIfTrue" | "getIfFalse" | "getCondition">;
  readonly Store: Getters<"getPtr" | "getValue">;
  readonly Unary: Getters<"getValue"> & Setters<"setValue">;
}

type Getters<Names extends string> = { [name in Names]: (e: number) => number };
type Setters<Names extends string> = { [name in Names]: (e: number, to: number) => void };

/** Orders the operands in one function of a module. */
export function reorder(x: Expressions, fn: number): void {
  const commutes = new Set([
    ...[x.AddInt32, x.AndInt32, x.OrInt32, x.XorInt32],
    ...[x.AddInt64, x.AndInt64, x.OrInt64, x.XorInt64],
  ]);
  const range = (count: number, at: (index: number) => number): number[] =>
    Array.from({ length: count }, (_, i) => at(i));
  const childrenOf = new Map<number, (e: number) => number[]>([
    [x.BinaryId, (e) => [x.Binary.getLeft(e), x.Binary.getRight(e)]],
    [x.BlockId, (e) => range(x.Block.getNumChildren(e), (i) => x.Block.getChildAt(e, i))],
    [x.BreakId, (e) => [x.Break.getValue(e), x.Break.getCondition(e)]],
    [x.CallId, (e) => range(x.Call.getNumOperands(e), (i) => x.Call.getOperandAt(e, i))],
    [x.DropId, (e) => [x.Drop.getValue(e)]],
    [x.GlobalSetId, (e) => [x.GlobalSet.getValue(e)]],
    [x.IfId, (e) => [x.If.getCondition(e), x.If.getIfTrue(e), x.If.getIfFalse(e)]],
    [x.LoadId, (e) => [x.Load.getPtr(e)]],
    [x.LocalSetId, (e) => [x.LocalSet.getValue(e)]],
    [x.LoopId, (e) => [x.Loop.getBody(e)]],
    [x.MemoryCopyId, (e) => [x.MemoryCopy.getDest(e), x.MemoryCopy.getSource(e), x.MemoryCopy.getSize(e)]],
    [x.MemoryFillId, (e) => [x.MemoryFill.getDest(e), x.MemoryFill.getValue(e), x.MemoryFill.getSize(e)]],
    [x.ReturnId, (e) => [x.Return.getValue(e)]],
    [x.SelectId, (e) => [x.Select.getIfTrue(e), x.Select.getIfFalse(e), x.Select.getCondition(e)]],
    [x.StoreId, (e) => [x.Store.getPtr(e), x.Store.getValue(e)]],
    [x.UnaryId, (e) => [x.Unary.getValue(e)]],
  ]);
  const id = (e: number): number => x.getExpressionId(e);
  const children = (e: number): number[] => (childrenOf.get(id(e))?.(e) ?? []).filter((child) => child !== 0);
  const isLocal = (e: number): boolean => id(e) === x.LocalGetId;
  const isTee = (e: number): boolean => id(e) === x.LocalSetId && x.LocalSet.isTee(e);
  const isLeaf = (e: number): boolean => isLocal(e) || id(e) === x.ConstId;

  /** Whether nothing but locals and memory is read, and nothing but locals set. */
  const computes = (e: number): boolean =>
    (isLeaf(e) || isTee(e) || [x.BinaryId, x.UnaryId, x.LoadId].includes(id(e))) &&
    children(e).every(computes);
  const sets = (e: number, local: number): boolean =>
    (isTee(e) && x.LocalSet.getIndex(e) === local) || children(e).some((child) => sets(child, local));

  /** Puts `by` in place of what is computed first of e, if that is the local; returns whether it was. */
  function replaceFirst(e: number, local: number, by: number): boolean {
    const [first] = children(e);
    if (first === undefined) return false;
    if (!isLocal(first)) return replaceFirst(first, local, by);
    if (x.LocalGet.getIndex(first) !== local) return false;
    if (id(e) === x.BinaryId) x.Binary.setLeft(e, by);
    else if (id(e) === x.UnaryId) x.Unary.setValue(e, by);
    else if (id(e) === x.LoadId) x.Load.setPtr(e, by);
    else return false;
    return true;
  }

  function visit(e: number): void {
    for (const child of children(e)) visit(child);
    if (id(e) !== x.BinaryId || !commutes.has(x.Binary.getOp(e))) return;
    const [left, right] = [x.Binary.getLeft(e), x.Binary.getRight(e)];
    if (isLeaf(right) || !computes(right)) return;
    if (isTee(left)) {
      const local = x.LocalSet.getIndex(left);
      const again = firstLeaf(right);
      if (sets(right, local) || !replaceFirst(right, local, left)) return;
      x.Binary.setLeft(e, right);
      x.Binary.setRight(e, again);
    } else if (isLeaf(left) && !(isLocal(left) && sets(right, x.LocalGet.getIndex(left)))) {
      x.Binary.setLeft(e, right);
      x.Binary.setRight(e, left);
    }
  }

  function firstLeaf(e: number): number {
    const [first] = children(e);
    return first === undefined ? e : firstLeaf(first);
  }

  visit(x.getFunctionInfo(fn).body);
}
