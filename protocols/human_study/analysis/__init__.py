"""Analysis of the responses of a study: rates, comparisons, a report and records."""
