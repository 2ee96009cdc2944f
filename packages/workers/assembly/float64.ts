// The kernels for float64.
import { clip } from "./clip";
import { adagradDense } from "./dense";
import { ema } from "./ema";
import { catchUp } from "./lazy";
import { sumSquares } from "./norms";
import { adagradRows } from "./rows";
import { rowwiseDense } from "./rowwise";

export function adagradDenseF64(
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
  adagradDense<f64>(
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

export function adagradRowsF64(
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
  adagradRows<f64>(
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

export function sumSquaresF64(values: usize, count: u32, partials: usize): void {
  sumSquares<f64>(values, count, partials);
}

export function clipF64(values: usize, count: u32, clipKind: i32, clipA: f64, clipB: f64): void {
  clip<f64>(values, count, clipKind, clipA, clipB);
}

export function emaF64(
  variable: usize,
  average: usize,
  count: u32,
  emaMomentum: f64,
  emaComplement: f64,
  emaKind: i32,
): void {
  ema<f64>(variable, average, count, emaMomentum, emaComplement, emaKind);
}

export function rowwiseDenseF64(
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
  rowwiseDense<f64>(
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

export function rowwiseRowsF64(
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
  adagradRows<f64>(
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

export function catchUpF64(variable: usize, rowSize: u32, first: u32, rows: u32, lazy: usize): void {
  catchUp<f64>(variable, rowSize, first, rows, lazy);
}
