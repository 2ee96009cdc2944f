import { type InspectOptions, inspect } from "node:util";

/** `console.log` prints objects of a class as its name and these properties. Not a method, which types would show. */
export function printedAs<Class extends object>(
  prototype: Class,
  properties: (object: Class) => object,
): void {
  const value = function (this: Class, _depth: number, options: InspectOptions): string {
    return `${this.constructor.name} ${inspect(properties(this), options)}`;
  };
  Object.defineProperty(prototype, inspect.custom, { value, configurable: true, writable: true });
}
