//! What a scalar means to a field that wants a string, a boolean or an integer.
//!
//! Plain YAML scalars follow Go's yaml.v3, which Butane reads with: a field that wants a string takes
//! any scalar as it is written, one that wants a boolean takes YAML 1.1's words too, and integers take
//! Go's prefixes, so that `0644` and `0o644` are octal.

use super::{Node, Value};

/// Why a scalar is no integer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum IntError {
    /// It is something else.
    NotAnInteger,
    /// It begins like an octal number and holds an 8 or a 9.
    NotOctal,
    /// It does not fit 64 bits.
    TooLarge,
}

pub(crate) fn is_null(text: &str) -> bool {
    matches!(text, "" | "~" | "null" | "Null" | "NULL")
}

impl Node {
    pub(crate) fn as_str(&self) -> Option<&str> {
        match &self.value {
            Value::Text(text) | Value::Plain(text) => Some(text),
            _ => None,
        }
    }

    pub(crate) fn as_bool(&self) -> Option<bool> {
        match &self.value {
            Value::Bool(value) => Some(*value),
            Value::Plain(text) => match text.as_str() {
                "true" | "True" | "TRUE" | "y" | "Y" | "yes" | "Yes" | "YES" | "on" | "On"
                | "ON" => Some(true),
                "false" | "False" | "FALSE" | "n" | "N" | "no" | "No" | "NO" | "off" | "Off"
                | "OFF" => Some(false),
                _ => None,
            },
            _ => None,
        }
    }

    pub(crate) fn as_int(&self) -> Result<i64, IntError> {
        match &self.value {
            Value::Number(text) => decimal(text),
            Value::Plain(text) => go_int(text),
            _ => Err(IntError::NotAnInteger),
        }
    }
}

fn decimal(text: &str) -> Result<i64, IntError> {
    let digits = text.strip_prefix('-').unwrap_or(text);
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(IntError::NotAnInteger);
    }
    text.parse().map_err(|_| IntError::TooLarge)
}

/// An integer as Go's `ParseInt` with base 0 reads it, underscores taken out as yaml.v3 does.
fn go_int(text: &str) -> Result<i64, IntError> {
    let plain = text.replace('_', "");
    let (negative, digits) = match plain.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, plain.strip_prefix('+').unwrap_or(&plain)),
    };
    let lower = digits.to_ascii_lowercase();
    let (radix, digits) = if let Some(rest) = lower.strip_prefix("0x") {
        (16, rest)
    } else if let Some(rest) = lower.strip_prefix("0o") {
        (8, rest)
    } else if let Some(rest) = lower.strip_prefix("0b") {
        (2, rest)
    } else if lower.len() > 1 && lower.starts_with('0') {
        (8, &lower[1..])
    } else {
        (10, lower.as_str())
    };
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
        return Err(IntError::NotAnInteger);
    }
    if !digits.chars().all(|digit| digit.is_digit(radix)) {
        let decimal = digits.bytes().all(|byte| byte.is_ascii_digit());
        return Err(if radix == 8 && decimal {
            IntError::NotOctal
        } else {
            IntError::NotAnInteger
        });
    }
    let value = i64::from_str_radix(digits, radix).map_err(|_| IntError::TooLarge)?;
    Ok(if negative { -value } else { value })
}
