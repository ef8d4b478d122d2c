# The same in R. Not run in this project's tests.
#
#     install.packages(c("arrow", "dplyr"))
#     Rscript netvar.R 2026-01-05T12:00:00Z 2026-01-05T13:00:00Z chunks/*.arrow
#
# Links do as well as paths.

library(arrow)
library(dplyr)

args <- commandArgs(trailingOnly = TRUE)
bounds <- as.POSIXct(args[1:2], format = "%Y-%m-%dT%H:%M:%SZ", tz = "UTC")
hex <- function(ids) vapply(ids, function(id) paste(format(as.raw(id)), collapse = ""), "")

open_chunk <- function(place) {
  if (grepl("^https?:", place)) {
    file <- tempfile(fileext = ".arrow")
    download.file(place, file, mode = "wb", quiet = TRUE)
    place <- file
  }
  read_ipc_file(place, as_data_frame = FALSE)
}

samples <- bind_rows(lapply(args[-(1:2)], function(place) {
  table <- open_chunk(place)
  tibble(
    device = hex(as.vector(table$device_id$cast(binary()))),
    profile = hex(as.vector(table$profile_id$cast(binary()))),
    timestamp = as.vector(table$timestamp),
    sequence = as.vector(table$sequence),
    payload = as.vector(table$sample_data)
  )
}))

stouffer <- samples |>
  distinct(device, profile, timestamp, sequence, .keep_all = TRUE) |>
  filter(timestamp >= bounds[1], timestamp < bounds[2]) |>
  mutate(
    second = floor(as.numeric(timestamp)),
    bits = 8 * lengths(payload),
    ones = vapply(payload, function(bytes) sum(rawToBits(as.raw(bytes)) == 1), 0)
  ) |>
  summarise(bits = sum(bits), ones = sum(ones), .by = c(second, device)) |>
  filter(bits > 0, !(bits >= 64 & (ones == 0 | ones == bits))) |>
  summarise(s = sum((2 * ones - bits) / sqrt(bits)) / sqrt(n()), .by = second)

cat(sprintf('{"seconds": %d, "chi2": %.10f}\n', nrow(stouffer), sum(stouffer$s^2)))
