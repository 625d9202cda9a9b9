// One object out of three: an MQTT.js client, an event emitter in place of its own, and what is
// answered differently. To its user it is an MqttClient.

import { EventEmitter } from "node:events";
import type { MqttClient } from "mqtt";

/** What the facade answers itself. */
export interface Overrides {
  raw: MqttClient;
  ampoule: unknown;
  publish: unknown;
  publishAsync: unknown;
  /** Called when the application sets `handleMessage`. */
  setHandleMessage: (handler: MqttClient["handleMessage"]) => void;
}

/** Methods and fields of an emitter, which must not be those of the client underneath. */
const EMITTER = new Set<PropertyKey>(
  Object.getOwnPropertyNames(EventEmitter.prototype).filter((name) => name !== "constructor"),
);

/**
 * Listeners attached to the result are called with it as `this`, and methods of the client that
 * return the client return the result.
 */
export function facade(inner: MqttClient, emitter: EventEmitter, overrides: Overrides): object {
  const { setHandleMessage, ...rest } = overrides;
  const own = new Map<PropertyKey, unknown>(Object.entries(rest));
  const methods = new WeakMap<object, unknown>();
  const ofEmitter = (key: PropertyKey): boolean => typeof key === "symbol" || EMITTER.has(key);

  const method = (f: (...values: unknown[]) => unknown): unknown => {
    const known = methods.get(f);
    if (known !== undefined) return known;
    const wrapped = (...values: unknown[]): unknown => {
      const result = f.apply(inner, values);
      return result === inner ? proxy : result;
    };
    methods.set(f, wrapped);
    return wrapped;
  };

  const proxy: object = new Proxy(emitter, {
    get(target, key, receiver) {
      if (own.has(key)) return own.get(key);
      if (ofEmitter(key)) return Reflect.get(target, key, receiver);
      const value = Reflect.get(inner, key) as unknown;
      if (key === "constructor" || typeof value !== "function") return value;
      return method(value as (...values: unknown[]) => unknown);
    },
    set(target, key, value) {
      if (key === "handleMessage") {
        setHandleMessage(value as MqttClient["handleMessage"]);
        return true;
      }
      if (own.has(key)) {
        own.set(key, value);
        return true;
      }
      return Reflect.set(ofEmitter(key) ? target : inner, key, value);
    },
    has: (target, key) => own.has(key) || key in target || key in inner,
    getPrototypeOf: () => Object.getPrototypeOf(inner) as object,
  });
  return proxy;
}
