;; What scripts/reach.ts must see, and what it must not believe: accesses through one value in every kind of order.
(module
  (memory (export "memory") 1)
  (global $at (mut i32) (i32.const 64))

  ;; One check may do for all three.
  (func (export "straight") (param i32 i32) (result i32)
    (i32.store16 offset=4 (local.get 0) (local.get 1))
    (i32.add (i32.load8_u (local.get 0)) (i32.load offset=12 (local.get 0))))

  ;; What one way has checked does not hold on the other.
  (func (export "ways") (param i32 i32) (result i32)
    (local i32)
    (if (local.get 1)
      (then (local.set 2 (i32.load offset=100 (local.get 0))))
      (else (local.set 2 (i32.load offset=4 (local.get 0)))))
    (i32.add (local.get 2) (i32.load8_u offset=50 (local.get 0))))

  ;; A jump over the larger access.
  (func (export "jumps") (param i32 i32) (result i32)
    (block (br_if 0 (local.get 1)) (drop (i32.load offset=40 (local.get 0))))
    (i32.load offset=20 (local.get 0)))

  ;; Each round goes through another value, held in the same local.
  (func (export "rounds") (param i32 i32) (result i32)
    (local i32)
    (loop
      (local.set 2 (i32.add (local.get 2) (i32.load8_u (local.get 0))))
      (drop (i32.load8_u offset=2 (local.get 0)))
      (local.set 0 (i32.add (local.get 0) (i32.const 3)))
      (br_if 0 (local.tee 1 (i32.sub (local.get 1) (i32.const 1)))))
    (local.get 2))

  ;; In the second round the first access is that of a new value.
  (func (export "behind") (param i32 i32) (result i32)
    (local i32)
    (local.set 2 (i32.load offset=8 (local.get 0)))
    (loop
      (local.set 2 (i32.add (local.get 2) (i32.load offset=4 (local.get 0))))
      (local.set 0 (i32.add (local.get 0) (local.get 1)))
      (br_if 0 (i32.lt_u (local.get 0) (i32.const 200000))))
    (local.get 2))

  ;; Either of two addresses.
  (func (export "either") (param i32 i32) (result i32)
    (local i32)
    (local.set 2 (local.get 0))
    (if (local.get 1) (then (local.set 2 (i32.add (local.get 0) (i32.const 60)))))
    (drop (i32.load offset=30 (local.get 0)))
    (i32.load (local.get 2)))

  ;; A sum that begins anew at zero is an address like any other.
  (func (export "wraps") (param i32 i32) (result i32)
    (local i32)
    (local.set 2 (i32.add (local.get 0) (i32.const 16)))
    (drop (i32.load offset=8 (local.get 2)))
    (if (result i32) (local.get 1) (then (i32.load (local.get 0))) (else (i32.load offset=4 (local.get 2)))))

  (func (export "below") (param i32 i32) (result i32)
    (local i32)
    (local.set 2 (i32.sub (local.get 0) (i32.const 8)))
    (drop (i32.load offset=16 (local.get 0)))
    (i32.add (i32.load (local.get 2)) (i32.load offset=8 (local.get 2))))

  ;; No larger than a number: the first is always inside, the second not.
  (func (export "bounded") (param i32 i32) (result i32)
    (i32.store8 (i32.const 7) (local.get 0))
    (if (result i32) (local.get 1)
      (then (i32.load offset=50000 (i32.mul (i32.load8_u (i32.const 7)) (i32.const 18))))
      (else (i32.add
        (i32.load offset=65400 (i32.and (local.get 0) (i32.const 255)))
        (i32.load offset=60000 (i32.mul (i32.load8_u (i32.const 7)) (i32.const 40)))))))

  ;; A difference of numbers may be less than nothing.
  (func (export "less") (param i32 i32) (result i32)
    (i32.load (i32.sub (i32.const 4) (i32.and (local.get 0) (i32.const 255)))))

  ;; One of two values was checked.
  (func (export "strangers") (param i32 i32) (result i32)
    (local i32 i32)
    (local.set 2 (i32.load8_u (local.get 0)))
    (local.set 3 (local.get 0))
    (if (local.get 1) (then (local.set 3 (i32.mul (local.get 1) (i32.const 70000)))))
    (i32.add (local.get 2) (i32.load8_u (local.get 3))))

  ;; A parameter for which every call can vouch, and one for which the last cannot.
  (func $trusted (param i32) (result i32)
    (local i32)
    (loop (br_if 0 (i32.lt_u (local.tee 1 (i32.add (local.get 1) (i32.const 1))) (i32.const 3))))
    (i32.add (i32.load offset=4 (local.get 0)) (i32.load8_u offset=90 (local.get 0))))
  (func $doubted (param i32) (result i32)
    (local i32)
    (loop (br_if 0 (i32.lt_u (local.tee 1 (i32.add (local.get 1) (i32.const 1))) (i32.const 3))))
    (i32.add (i32.load offset=4 (local.get 0)) (i32.load8_u offset=60 (local.get 0))))
  (func (export "calls") (param i32 i32) (result i32)
    (i32.add
      (i32.add (call $trusted (i32.const 65445)) (call $trusted (i32.const 100)))
      (i32.add
        (call $doubted (i32.const 100))
        (if (result i32) (local.get 1) (then (call $doubted (local.get 0))) (else (i32.const 0))))))

  ;; The only function that is stricter than V8: it is the write that is refused.
  (func (export "through") (param i32 i32) (result i32)
    (global.set $at (local.get 0))
    (i32.store8 offset=1 (global.get $at) (local.get 1))
    (i32.add
      (i32.add (i32.load (global.get $at)) (i32.load8_u offset=40 (global.get $at)))
      (i32.add (i32.load offset=20 (global.get $at)) (call $trusted (global.get $at))))))
