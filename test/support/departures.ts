/**
 * Recorded cases that Shardgrad departs from on purpose (the table in semantics.md), each with the reason.
 * Its own behaviour in these cases is tested in test/unit/departures.test.ts.
 */
const byPosition = "Keras pairs averages by position in the current list, Shardgrad by identity";
const refused = "Keras takes the value, Shardgrad refuses it";
const unchanged = "Keras had written part of the state when it failed, Shardgrad changes nothing";
const twice = "Keras makes two slots, Shardgrad refuses a variable twice in one list";
const untouched = "Keras computes on rows not named, Shardgrad never changes them";
const numberIsFine = "iterations is a number here, and setting it before build is what it is for";
const shapeKnown = "denseShape is optional here: the variable's shape is known";
const noFloats = "JavaScript has no int and float: 2.0 is the integer 2";

export const departures: Readonly<Record<string, string>> = {
  "edge/negative_initial_accumulator": refused,
  "edge/negative_epsilon": refused,
  "clipping/exact_clipnorm_NaN": refused,
  "ema/ema_nan_momentum_accepted": refused,
  "none_subset/none_then_present_is_unknown_variable": unchanged,
  "none_subset/empty_list_with_schedule": unchanged,
  "none_subset/ema_freqNone_second_step_suffix": byPosition,
  "none_subset/ema_freqNone_second_step_single": byPosition,
  "none_subset/ema_freqNone_second_step_reversed": byPosition,
  "none_subset/ema_freqNone_second_step_rotated": byPosition,
  "none_subset/ema_freq2_second_step_suffix": byPosition,
  "none_subset/ema_freq2_second_step_prefix": byPosition,
  "none_subset/ema_freq2_second_step_single": byPosition,
  "none_subset/ema_freq2_second_step_reversed": byPosition,
  "none_subset/ema_freq2_second_step_rotated": byPosition,
  "none_subset/ema_freq1_second_step_suffix": byPosition,
  "none_subset/ema_freq1_second_step_reversed": byPosition,
  "none_subset/ema_freq3_second_step_suffix": byPosition,
  "none_subset/ema_freq3_second_step_reversed": byPosition,
  "none_subset/ema_none_in_second_step": byPosition,
  "none_subset/ema_shape_mismatch_after_shift": byPosition,
  "none_subset/ema_broadcasts_scalar_variable_into_average": byPosition,
  "none_subset/finalize_reordered": byPosition,
  "none_subset/same_variable_twice_later": twice,
  "none_subset/same_variable_twice_first": twice,
  "sparse/untouched_rows_acc0_eps0_become_nan": untouched,
  "sparse/negative_accumulator_poisons_untouched_rows": refused,
  "sparse/out_of_range_index": unchanged,
  "sparse/negative_index": unchanged,
  "dtypes/mixed_dtypes_global_clipnorm": unchanged,
  "errors/constructor_use_ema=True_ema_overwrite_frequency=2.0": noFloats,
  "errors/set_iterations_to_plain_int_before_build": numberIsFine,
  "errors/sparse_without_dense_shape": shapeKnown,
  "errors/integer_learning_rate_ExponentialDecay": noFloats,
  "errors/integer_learning_rate_PiecewiseConstantDecay": noFloats,
  "errors/integer_learning_rate_CosineDecay": noFloats,
  "errors/integer_learning_rate_InverseTimeDecay": noFloats,
  "errors/integer_learning_rate_PolynomialDecay": noFloats,
  "errors/integer_learning_rate_CosineDecayRestarts": noFloats,
};
