/**
 * The part of the WebAssembly API that is used here. Node's own types leave it to the DOM library, whose many
 * browser globals do not belong in a Node package or in the types of those who install it.
 */
export interface WasmModule {
  readonly [Symbol.toStringTag]: string;
}

/** A shared WebAssembly memory; `pages` are of 64 KiB. */
export interface WasmMemory {
  readonly buffer: SharedArrayBuffer;
  grow(pages: number): number;
}

interface WasmInstance {
  readonly exports: Record<string, unknown>;
}

interface WasmApi {
  readonly Module: new (bytes: Uint8Array) => WasmModule;
  readonly Memory: new (descriptor: { initial: number; maximum: number; shared: true }) => WasmMemory;
  readonly Instance: new (
    module: WasmModule,
    imports: Record<string, Record<string, unknown>>,
  ) => WasmInstance;
}

export const wasm = (globalThis as unknown as { WebAssembly: WasmApi }).WebAssembly;
