//! The recipe that turns a picture into the network's input: the model pack prescribes it, this package follows it.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Largest side of a network's input, in pixels.
pub const MAX_SIDE: u32 = 1024;

/// The preprocessing recipe of a model pack.
///
/// ```
/// use magpie_image::recipe::{Fit, Recipe};
///
/// let recipe = Recipe::new(224, 224).with_fit(Fit::Crop(0.875)).with_mean_std([0.5; 3], [0.25; 3]);
/// assert_eq!(recipe.check(), Ok(()));
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Recipe {
    /// Name of the network's input.
    pub name: String,
    /// Width of the input in pixels.
    pub width: u32,
    /// Height of the input in pixels.
    pub height: u32,
    /// How a region with another aspect ratio is fitted to the input.
    pub fit: Fit,
    /// Resampling filter, antialiased: the kernel support grows with the reduction.
    pub filter: ResizeFilter,
    /// Order of the colour planes.
    pub channels: Channels,
    /// Subtracted from `value / 255`, per plane in the order of `channels`.
    pub mean: [f32; 3],
    /// Divides the difference, per plane in the order of `channels`.
    pub std: [f32; 3],
}

impl Recipe {
    /// The recipe for an input of this size that is named `image`: squash, bilinear, RGB, values from 0 to 1.
    pub fn new(width: u32, height: u32) -> Recipe {
        Recipe {
            name: "image".to_owned(),
            width,
            height,
            fit: Fit::Squash,
            filter: ResizeFilter::Bilinear,
            channels: Channels::Rgb,
            mean: [0.0; 3],
            std: [1.0; 3],
        }
    }

    /// Sets the name of the network's input.
    #[must_use]
    pub fn with_name(mut self, name: &str) -> Recipe {
        name.clone_into(&mut self.name);
        self
    }

    /// Sets how a region with another aspect ratio is fitted to the input.
    #[must_use]
    pub fn with_fit(mut self, fit: Fit) -> Recipe {
        self.fit = fit;
        self
    }

    /// Sets the resampling filter.
    #[must_use]
    pub fn with_filter(mut self, filter: ResizeFilter) -> Recipe {
        self.filter = filter;
        self
    }

    /// Sets the order of the colour planes.
    #[must_use]
    pub fn with_channels(mut self, channels: Channels) -> Recipe {
        self.channels = channels;
        self
    }

    /// Sets what is subtracted from `value / 255` and what divides the difference, per plane.
    #[must_use]
    pub fn with_mean_std(mut self, mean: [f32; 3], std: [f32; 3]) -> Recipe {
        (self.mean, self.std) = (mean, std);
        self
    }

    /// Checks that the sides are 1 to [`MAX_SIDE`] and that the numbers are finite and can be divided by.
    ///
    /// # Errors
    /// A message that names the field and its value.
    pub fn check(&self) -> Result<(), String> {
        for (name, side) in [("width", self.width), ("height", self.height)] {
            if !(1..=MAX_SIDE).contains(&side) {
                return Err(format!("input.{name} is {side}, expected 1 to {MAX_SIDE}"));
            }
        }
        if !self.mean.iter().all(|v| v.is_finite()) {
            return Err(format!("input.mean is {:?}, expected finite numbers", self.mean));
        }
        if !self.std.iter().all(|v| v.is_normal()) {
            return Err(format!("input.std is {:?}, expected finite numbers other than 0", self.std));
        }
        Ok(())
    }
}

/// How a region is fitted to the input.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Fit {
    /// `squash`: the whole region is scaled to the input; its aspect ratio is not kept.
    Squash,
    /// `crop` or `crop:0.875`: the largest centred part with the input's aspect ratio, its sides times this fraction.
    Crop(f32),
}

impl fmt::Display for Fit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Fit::Squash => f.write_str("squash"),
            Fit::Crop(1.0) => f.write_str("crop"),
            Fit::Crop(fraction) => write!(f, "crop:{fraction}"),
        }
    }
}

impl FromStr for Fit {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let fraction = match text {
            "squash" => return Ok(Fit::Squash),
            "crop" => Some(1.0),
            _ => text.strip_prefix("crop:").and_then(|number| number.parse::<f32>().ok()),
        };
        match fraction {
            Some(fraction) if fraction > 0.0 && fraction <= 1.0 => Ok(Fit::Crop(fraction)),
            _ => Err(format!(
                "fit is '{}', expected 'squash', 'crop' or 'crop:F' with F above 0 and up to 1",
                text.escape_debug()
            )),
        }
    }
}

impl TryFrom<String> for Fit {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<Fit> for String {
    fn from(fit: Fit) -> String {
        fit.to_string()
    }
}

/// Resampling filters, named as in Pillow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum ResizeFilter {
    /// Box: mean of the covered pixels.
    Box,
    /// Triangle.
    Bilinear,
    /// Catmull-Rom cubic (a = -0.5).
    Bicubic,
    /// Lanczos with three lobes (a = 3).
    Lanczos,
}

impl ResizeFilter {
    /// The name in the manifest.
    pub fn name(self) -> &'static str {
        match self {
            ResizeFilter::Box => "box",
            ResizeFilter::Bilinear => "bilinear",
            ResizeFilter::Bicubic => "bicubic",
            ResizeFilter::Lanczos => "lanczos",
        }
    }
}

/// Order of the colour planes in the input tensor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Channels {
    /// Red, green, blue.
    Rgb,
    /// Blue, green, red.
    Bgr,
}

impl Channels {
    /// The name in the manifest.
    pub fn name(self) -> &'static str {
        match self {
            Channels::Rgb => "rgb",
            Channels::Bgr => "bgr",
        }
    }
}

/// The network's input: a tensor of 1 x 3 x height x width.
#[derive(Debug, Clone, PartialEq)]
pub struct InputTensor {
    /// Width in pixels.
    pub width: u32,
    /// Height in pixels.
    pub height: u32,
    /// `3 * height * width` values, plane after plane, row after row.
    pub data: Vec<f32>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fits_round_trip_as_text_and_bad_ones_are_named() {
        for text in ["squash", "crop", "crop:0.875"] {
            assert_eq!(text.parse::<Fit>().map(|f| f.to_string()), Ok(text.to_owned()));
        }
        for bad in ["", "pad", "crop:", "crop:0", "crop:1.5", "crop:nan"] {
            assert!(bad.parse::<Fit>().expect_err(bad).contains("expected"), "{bad}");
        }
    }
}
