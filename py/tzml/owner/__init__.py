"""What a model's owner does with keys: seal bundles, and grant them to devices. Runs where the owner's key is."""
