//! `magpie inspect`

use std::path::PathBuf;

use magpie_core::shard::{Column, Shard};

use crate::failure::{Failure, Result};
use crate::{assets, output};

/// Show what a shard or a model pack contains
#[derive(clap::Args)]
#[command(after_help = "Example: magpie inspect catalog.magpie")]
pub(crate) struct Args {
    /// A shard file, or the folder of a model pack
    path: PathBuf,
    /// Print as JSON
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    if args.path.is_dir() { inspect_pack(args) } else { inspect_shard(args) }
}

fn inspect_shard(args: &Args) -> Result<()> {
    let shard = Shard::open(&args.path).map_err(|e| Failure::of(&args.path, e))?;
    let header = shard.header();
    let columns: Vec<(&str, String)> = shard
        .columns()
        .map(|(name, _)| {
            let holds = match shard.column(name) {
                Some(Column::Word { words, .. }) => format!("{} words", words.len()),
                Some(Column::Number { .. }) => "numbers".to_owned(),
                None => "nothing".to_owned(),
            };
            (name, holds)
        })
        .collect();
    if args.json {
        return output::json(&serde_json::json!({
            "catalog": shard.catalog(), "writer": shard.writer(), "header": header, "fields": shard.fields(),
            "filters": columns.iter().map(|(name, holds)| serde_json::json!({"name": name, "holds": holds})).collect::<Vec<_>>(),
            "sections": shard.sections(),
        }));
    }
    println!("catalogue   {} (id {}, publication {})", shard.catalog(), header.catalog_id, header.sequence);
    println!("format      {} (readers from {} on), written by {}", header.format, header.oldest_reader, shard.writer());
    println!("model       {}", header.model_id);
    println!(
        "holds       {} photos of {} listings, {} dimensions",
        header.photo_count, header.listing_count, header.dim
    );
    println!(
        "size        {} ({:.1} bytes a photo)",
        output::bytes(header.file_len),
        per(header.file_len, header.photo_count)
    );
    println!("fields      {}", shard.fields().join(", "));
    let filters: Vec<String> = columns.iter().map(|(name, holds)| format!("{name} ({holds})")).collect();
    println!("filters     {}\n", filters.join(", "));
    let rows: Vec<Vec<String>> = shard
        .sections()
        .into_iter()
        .map(|s| {
            vec![s.name, s.offset.to_string(), s.bytes.to_string(), format!("{:.1}", per(s.bytes, header.photo_count))]
        })
        .collect();
    print!("{}", output::table(&["section", ">offset", ">bytes", ">a photo"], &rows));
    Ok(())
}

fn per(bytes: u64, photos: u32) -> f64 {
    if photos == 0 { 0.0 } else { bytes as f64 / f64::from(photos) }
}

fn inspect_pack(args: &Args) -> Result<()> {
    let pack = assets::pack(Some(&args.path))?;
    let manifest = pack.manifest();
    if args.json {
        return output::json(manifest);
    }
    let input = &manifest.input;
    println!("pack        {}", manifest.name);
    println!("model       {}", manifest.model_id);
    println!("network     {} ({})", manifest.network.file, output::bytes(manifest.network.bytes));
    println!(
        "input       {} x {} pixels, {}, {}, {}",
        input.width,
        input.height,
        input.fit,
        input.filter.name(),
        input.channels.name()
    );
    println!("embedding   {} values", manifest.embedding.dim);
    for head in &manifest.heads {
        println!("head        {} ({} labels)", head.name, head.labels.len());
    }
    Ok(())
}
