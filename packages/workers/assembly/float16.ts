// The kernels for float16, which is stored as binary16 bit patterns.
import { clip } from "./clip";
import { adagradDense } from "./dense";
import { ema } from "./ema";
import { catchUp } from "./lazy";
import { sumSquares } from "./norms";
import { adagradRows } from "./rows";
import { rowwiseDense } from "./rowwise";

export function adagradDenseF16(
  variable: usize,
  accumulator: usize,
  average: usize,
  gradient: usize,
  count: u32,
  learningRate: f64,
  epsilon: f64,
  clipKind: i32,
  clipA: f64,
  clipB: f64,
  emaMomentum: f64,
  emaComplement: f64,
  emaKind: i32,
): void {
  adagradDense<u16>(
    variable,
    accumulator,
    average,
    gradient,
    count,
    learningRate,
    epsilon,
    clipKind,
    clipA,
    clipB,
    emaMomentum,
    emaComplement,
    emaKind,
  );
}

export function adagradRowsF16(
  variable: usize,
  accumulator: usize,
  rowSize: u32,
  indices: usize,
  values: usize,
  sliceCount: u32,
  lane: u32,
  laneCount: u32,
  ownerShift: u32,
  scratch: usize,
  learningRate: f64,
  epsilon: f64,
  clipKind: i32,
  clipA: f64,
  clipB: f64,
  perRow: u32,
  versions: usize,
  versionMask: u32,
  lazy: usize,
  dealt: usize,
): void {
  adagradRows<u16>(
    variable,
    accumulator,
    rowSize,
    indices,
    values,
    sliceCount,
    lane,
    laneCount,
    ownerShift,
    scratch,
    learningRate,
    epsilon,
    clipKind,
    clipA,
    clipB,
    perRow,
    versions,
    versionMask,
    lazy,
    dealt,
    false,
  );
}

export function sumSquaresF16(values: usize, count: u32, partials: usize): void {
  sumSquares<u16>(values, count, partials);
}

export function clipF16(values: usize, count: u32, clipKind: i32, clipA: f64, clipB: f64): void {
  clip<u16>(values, count, clipKind, clipA, clipB);
}

export function emaF16(
  variable: usize,
  average: usize,
  count: u32,
  emaMomentum: f64,
  emaComplement: f64,
  emaKind: i32,
): void {
  ema<u16>(variable, average, count, emaMomentum, emaComplement, emaKind);
}

export function rowwiseDenseF16(
  variable: usize,
  accumulator: usize,
  average: usize,
  gradient: usize,
  rows: u32,
  rowSize: u32,
  learningRate: f64,
  epsilon: f64,
  clipKind: i32,
  clipA: f64,
  clipB: f64,
  emaMomentum: f64,
  emaComplement: f64,
  emaKind: i32,
): void {
  rowwiseDense<u16>(
    variable,
    accumulator,
    average,
    gradient,
    rows,
    rowSize,
    learningRate,
    epsilon,
    clipKind,
    clipA,
    clipB,
    emaMomentum,
    emaComplement,
    emaKind,
  );
}

export function rowwiseRowsF16(
  variable: usize,
  accumulator: usize,
  rowSize: u32,
  indices: usize,
  values: usize,
  sliceCount: u32,
  lane: u32,
  laneCount: u32,
  ownerShift: u32,
  scratch: usize,
  learningRate: f64,
  epsilon: f64,
  clipKind: i32,
  clipA: f64,
  clipB: f64,
  perRow: u32,
  versions: usize,
  versionMask: u32,
  lazy: usize,
  dealt: usize,
): void {
  adagradRows<u16>(
    variable,
    accumulator,
    rowSize,
    indices,
    values,
    sliceCount,
    lane,
    laneCount,
    ownerShift,
    scratch,
    learningRate,
    epsilon,
    clipKind,
    clipA,
    clipB,
    perRow,
    versions,
    versionMask,
    lazy,
    dealt,
    true,
  );
}

export function catchUpF16(variable: usize, rowSize: u32, first: u32, rows: u32, lazy: usize): void {
  catchUp<u16>(variable, rowSize, first, rows, lazy);
}
