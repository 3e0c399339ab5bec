//! `magpie inspect`

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use magpie_core::bench::percentile;
use magpie_core::model::{LeftNode, LeftReason, LoadReport, Model};
use magpie_core::recipe::InputTensor;
use magpie_core::shard::{Column, Shard};

use super::release_at::ReleaseAt;
use crate::failure::{CommandFailure, Result};
use crate::{assets, output};

/// Show what a shard, a model pack, a release, or a folder with an installed release contains
#[derive(clap::Args)]
#[command(
    after_help = "Examples: magpie inspect catalog.magpie\n          magpie inspect --layers models/packs/default"
)]
pub(crate) struct Args {
    /// A shard file, or the folder of a model pack, of a release, or with an installed release [default: the built-in pack]
    path: Option<PathBuf>,
    /// For a model pack: list the layers that the int8 kernels run, with their times on this machine, and all nodes that
    /// tract runs
    #[arg(long)]
    layers: bool,
    /// Print the result as JSON
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    if let Some(release) = args.path.as_deref().map(ReleaseAt::find).transpose()?.flatten() {
        return release.inspect(args.json);
    }
    match &args.path {
        Some(path) if !path.is_dir() => inspect_shard(args, path),
        folder => inspect_pack(args, folder.as_deref()),
    }
}

fn inspect_shard(args: &Args, path: &Path) -> Result<()> {
    let shard = Shard::open(path).map_err(|e| CommandFailure::of(path, e))?;
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
    outln!("catalogue   {} (id {}, publication {})", shard.catalog(), header.catalog_id, header.sequence);
    outln!(
        "format      {} (needs a reader of format {} or later), written by {}",
        header.format,
        header.oldest_reader,
        shard.writer()
    );
    outln!("model       {}", header.model_id);
    outln!("holds       {} photos of {} listings, {} dimensions", header.photo_count, header.listing_count, header.dim);
    outln!(
        "size        {} ({:.1} bytes per photo)",
        output::bytes(header.file_len),
        per_photo(header.file_len, header.photo_count)
    );
    outln!("index       {} lists{}", shard.list_count(), if shard.has_thumbnails() { ", thumbnails" } else { "" });
    outln!("fields      {}", shard.fields().join(", "));
    let filters: Vec<String> = columns.iter().map(|(name, holds)| format!("{name} ({holds})")).collect();
    outln!("filters     {}\n", filters.join(", "));
    let rows: Vec<Vec<String>> = shard
        .sections()
        .into_iter()
        .map(|s| {
            vec![
                s.name,
                s.offset.to_string(),
                s.bytes.to_string(),
                format!("{:.1}", per_photo(s.bytes, header.photo_count)),
            ]
        })
        .collect();
    out!("{}", output::table(&["section", ">offset", ">bytes", ">per photo"], &rows));
    Ok(())
}

fn per_photo(bytes: u64, photos: u32) -> f64 {
    if photos == 0 { 0.0 } else { bytes as f64 / f64::from(photos) }
}

fn inspect_pack(args: &Args, folder: Option<&Path>) -> Result<()> {
    let pack = assets::pack(folder)?;
    let manifest = pack.manifest();
    let model = Model::load(&pack).map_err(|e| match folder {
        Some(folder) => CommandFailure::of(folder, e),
        None => e.into(),
    })?;
    let report = model.report();
    let times = if args.layers { layer_times(&model)? } else { Vec::new() };
    if args.json {
        let layers = report.fused.iter().enumerate().map(|(at, layer)| {
            serde_json::json!({
                "name": layer.name, "kind": layer.kind, "size": layer.size, "products": layer.products,
                "ms": times.get(at).copied().flatten(),
            })
        });
        let left = report
            .left
            .iter()
            .map(|node| serde_json::json!({"op": node.operator, "name": node.name, "reason": node.reason.to_string()}));
        let [int8, all] = report.convolutions();
        return output::json(&serde_json::json!({
            "manifest": manifest, "isa": report.isa.name(), "refused": report.refused,
            "convolutions": {"int8": int8, "all": all},
            "scratch_bytes": report.scratch_bytes, "int8_layers": layers.collect::<Vec<_>>(),
            "tract_nodes": left.collect::<Vec<_>>(),
        }));
    }
    let input = &manifest.input;
    outln!("pack        {}", manifest.name);
    outln!("model       {}", manifest.model_id);
    outln!("network     {} ({})", manifest.network.file, output::bytes(manifest.network.bytes));
    outln!(
        "input       {} x {} pixels, {}, {}, {}",
        input.width,
        input.height,
        input.fit,
        input.filter.name(),
        input.channels.name()
    );
    outln!("embedding   {} values", manifest.embedding.dim);
    for head in &manifest.heads {
        let number =
            |name: &str, value: Option<f32>| value.map_or_else(String::new, |value| format!(", {name} {value}"));
        let calibrated = number("temperature", head.temperature) + &number("threshold", head.threshold);
        outln!("head        {} ({} labels{calibrated})", head.name, head.labels.len());
    }
    match &manifest.confidence {
        Some(calibration) => outln!("confidence  threshold {}; {}", calibration.threshold, calibration.data),
        None => outln!("confidence  not calibrated"),
    }
    report_lines(report).iter().for_each(|line| outln!("{line}"));
    if args.layers {
        let cell = |ms: Option<f64>| ms.map_or_else(String::new, |ms| format!("{ms:.4}"));
        let rows = report.fused.iter().zip(times).map(|(layer, ms)| {
            let [height, width, channels] = layer.size;
            let rate = ms.filter(|_| layer.products > 0).map(|ms| layer.products as f64 / ms / 1e6);
            let rate = rate.map_or_else(String::new, |rate| format!("{rate:.0}"));
            vec![layer.name.clone(), layer.kind.to_owned(), format!("{height} x {width} x {channels}"), cell(ms), rate]
        });
        let header = ["layer", "kind", "result", ">ms", ">GMAC/s"];
        out!("\n{}", output::table(&header, &rows.collect::<Vec<_>>()));
        if !report.left.is_empty() {
            let row = |node: &LeftNode| vec![node.operator.clone(), node.name.clone(), node.reason.to_string()];
            let rows: Vec<Vec<String>> = report.left.iter().map(row).collect();
            out!("\n{}", output::table(&["on tract", "node", "why"], &rows));
        }
    }
    Ok(())
}

/// Which layers the int8 kernels run, and which nodes tract runs, and why.
fn report_lines(report: &LoadReport) -> Vec<String> {
    let mut lines = Vec::new();
    let count = |names: &mut dyn Iterator<Item = &str>| {
        let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
        names.for_each(|name| *counts.entry(name).or_default() += 1);
        counts.iter().map(|(name, count)| format!("{count} {name}")).collect::<Vec<_>>().join(", ")
    };
    if !report.fused.is_empty() {
        let kinds = count(&mut report.fused.iter().map(|layer| layer.kind));
        lines.push(format!("int8        {} layers by {}: {kinds}", report.fused.len(), report.isa));
        lines.push(format!("memory      {} for the activations of a run", output::bytes(report.scratch_bytes as u64)));
    }
    let [int8, all] = report.convolutions();
    if all > 0 {
        lines.push(format!("kernels     {int8} of {all} convolutions"));
    }
    if !report.left.is_empty() {
        let operators = count(&mut report.left.iter().map(|node| node.operator.as_str()));
        lines.push(format!("tract       {} nodes: {operators}", report.left.len()));
    }
    // The nodes of one reason on one line; last what only belongs to them.
    let mut reasons: Vec<(&LeftReason, Vec<&LeftNode>)> = Vec::new();
    for node in &report.left {
        match reasons.iter_mut().find(|(reason, _)| **reason == node.reason) {
            Some((_, nodes)) => nodes.push(node),
            None => reasons.push((&node.reason, vec![node])),
        }
    }
    reasons.sort_by_key(|(reason, _)| **reason == LeftReason::Part);
    for (reason, nodes) in reasons {
        let of = match &nodes[..] {
            [node] => format!("{} '{}'", node.operator, node.name.escape_debug()),
            nodes => count(&mut nodes.iter().map(|node| node.operator.as_str())),
        };
        lines.push(format!("            {of}: {reason}"));
    }
    if let Some(reason) = &report.refused {
        lines.push(format!("            (tract runs the int8 layers too: {reason})"));
    }
    lines
}

/// Returns each layer's median time over several runs, in milliseconds; `None` for layers without a time of their own.
fn layer_times(model: &Model) -> Result<Vec<Option<f64>>> {
    let input = &model.manifest().input;
    let values = 3 * input.width as usize * input.height as usize;
    let input = InputTensor { width: input.width, height: input.height, data: vec![0.0; values] };
    let mut session = model.session();
    let mut times = vec![Vec::new(); model.report().fused.len()];
    for _ in 0..41 {
        for (layer, time) in session.profile(&input)? {
            times[layer].push(time);
        }
    }
    let median = |times: &mut Vec<_>| output::millis(percentile(times, 0.5));
    Ok(times.iter_mut().map(|times| (!times.is_empty()).then(|| median(times))).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use magpie_core::cpu::Isa;

    #[test]
    fn the_report_says_why_nodes_are_left_to_tract() {
        let mut report = LoadReport::new(Isa::Scalar, 1);
        report.left = vec![
            LeftNode::new("DequantizeLinear", "weights", LeftReason::Part),
            LeftNode::new("Conv", "grouped", LeftReason::Groups(4)),
            LeftNode::new("Softmax", "a", LeftReason::Operator),
            LeftNode::new("Resize", "b", LeftReason::Operator),
        ];
        let expected = [
            "kernels     0 of 1 convolutions",
            "tract       4 nodes: 1 Conv, 1 DequantizeLinear, 1 Resize, 1 Softmax",
            "            Conv 'grouped': it has 4 groups, the kernels do one, or one for each channel",
            "            1 Resize, 1 Softmax: the kernels do not have this operator",
            "            DequantizeLinear 'weights': it belongs to a node on tract",
        ];
        assert_eq!(report_lines(&report), expected);
    }
}
