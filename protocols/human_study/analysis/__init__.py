"""From the responses of a study to rates, comparisons, a report and records."""
