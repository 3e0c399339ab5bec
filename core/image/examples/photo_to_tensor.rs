//! Turns a photo file into the input tensor of a network, and prints what happens on the way.
//!
//! ```sh
//! cargo run -p magpie-image --example photo_to_tensor -- photo.jpg 144 100,50,400,300
//! ```
//!
//! The second argument is the side of the network's input (224 by default), the third one the region of interest as
//! left edge, top edge, width and height in pixels of the upright photo (all of it by default).

use std::error::Error;

use magpie_image::recipe::{Channels, Fit, Recipe, ResizeFilter};
use magpie_image::{DecodeLimits, Region, decode, normalise, sniff};

fn main() -> Result<(), Box<dyn Error>> {
    let mut args = std::env::args().skip(1);
    let path = args.next().ok_or("usage: photo_to_tensor PHOTO [SIDE] [X,Y,WIDTH,HEIGHT]")?;
    let side = args.next().map_or(Ok(224), |text| text.parse())?;
    let region = args.next().map(|text| text.parse::<Region>()).transpose()?;

    // The recipe belongs to the network: here the one of many classifiers that were trained on ImageNet.
    let recipe = Recipe::new(side, side)
        .with_fit(Fit::Crop(1.0))
        .with_filter(ResizeFilter::Bilinear)
        .with_channels(Channels::Rgb)
        .with_mean_std([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]);
    recipe.check()?;

    let bytes = std::fs::read(path)?;
    println!("{:?}, {} bytes", sniff(&bytes)?, bytes.len());

    // A JPEG is decoded at 1/8, 1/4 or 1/2 of its size if that is enough for the region and the input.
    let photo = decode(&bytes, region, &recipe, &DecodeLimits::default())?;
    let ((width, height), (columns, rows)) = (photo.size(), photo.decoded_size());
    println!("{width} x {height} pixels upright, {columns} x {rows} decoded");

    let input = photo.input_rgb(region, &recipe)?;
    let tensor = normalise(&input, &recipe);
    println!("tensor of 1 x 3 x {} x {}", tensor.height, tensor.width);
    let plane = (tensor.width * tensor.height) as usize;
    for (name, values) in ["red", "green", "blue"].into_iter().zip(tensor.data.chunks_exact(plane)) {
        let least = values.iter().copied().fold(f32::INFINITY, f32::min);
        let most = values.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let mean = values.iter().sum::<f32>() / values.len() as f32;
        println!("{name:>5}: {least:.3} to {most:.3}, mean {mean:.3}");
    }
    Ok(())
}
