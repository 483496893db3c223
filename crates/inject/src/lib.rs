//! Inject: a customization becomes machine-local state, or an Ignition document.
