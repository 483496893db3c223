//! The customization document: Butane YAML and Ignition JSON into one typed model.
