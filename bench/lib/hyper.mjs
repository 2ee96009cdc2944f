/** Hyper-parameters of every case, the same as bench/peers/common.py's. */
export const LEARNING_RATE = 0.01;
export const INITIAL_ACCUMULATOR = 0.1;
export const EPSILON = 1e-7;
export const EMA_MOMENTUM = 0.99;
export const GLOBAL_CLIPNORM = 1;
/** Exponent of the Zipf distribution that duplicate rows are drawn from. */
export const ZIPF_EXPONENT = 1.1;
