--- baseline_policy: what is a channel, what the baseline learns, and when a value is an anomaly.
--
-- Edit and save: with --reload the next batch is scored with the new values. `anomalyd check` tells
-- whether the file is right. What is not named here has the default that stands beside it.
return {
  -- The columns that are channels: a list of names, or "auto" (every column whose cells are numbers
  -- in at least 95 of 100 and whose name is no time and no id; a channel of the baseline stays
  -- one).
  channels = { "temperature", "humidity", "pressure", "wind_speed" },

  -- A value whose distance from the mean is more than so many standard deviations is flagged.
  z_threshold = 3.0,

  -- Observations a channel needs before its z-scores are given.
  maturity = 30,

  -- "before": a batch enters the baseline, then is scored against it. "after": it is scored first.
  update = "before",

  -- false: values that the baseline before the batch would flag do not enter it.
  learn_flagged = true,

  -- Observations after which an old one counts half; false: nothing is ever forgotten.
  half_life = false,

  -- "both", or only "rise" or "drop": which side of the mean is flagged.
  direction = "both",

  -- Deviations from the mean smaller than this (in the channel's own unit) are not flagged. One
  -- number, or a table {temperature = 0.5, ...}.
  minimum_deviation = 0,

  -- The isolation forest over all channels of a batch: the share of rows it may flag ("auto": its
  -- own threshold), the number of its trees and the seed of its random numbers.
  contamination = 0.05,
  n_estimators = 100,
  random_state = 42,
}
