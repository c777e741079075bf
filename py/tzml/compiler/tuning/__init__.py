"""Better schedules, found by measuring: what `tzml tune` does. A compile never needs it."""
