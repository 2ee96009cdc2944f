// The exports of kernels.wasm. Pointers are byte offsets into the imported memory and need no alignment; counts are
// of elements. The callers' table of kernels knows these names.
//
// Memory: the module has no data segments, no allocator and no stack in memory. Its first 64 KiB page is kept free
// for it (a compiler change could place static data there), so nothing else may be allocated below 65,536.

// It is the same for every dtype; the table of kernels has one for each.
export { dealRows as dealRowsF16, dealRows as dealRowsF32, dealRows as dealRowsF64 } from "./deal";
export * from "./float16";
export * from "./float32";
export * from "./float64";
export { doubleFromHalf, doublesFromHalf, halfFromDouble, halfFromDoubles } from "./half";
export { checkIndices } from "./indices";
export { normBlock, sumPartials } from "./norms";
export { rowsScratchBytes } from "./slices";
