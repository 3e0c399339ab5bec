//! Tests the gate with rendered pictures that are moved, blurred and darkened, and the list with random results.
#![allow(clippy::unwrap_used)] // Tests: a failed unwrap is a failed test.

use std::path::Path;
use std::sync::LazyLock;
use std::time::Duration;

use image::{RgbImage, imageops};
use proptest::prelude::*;

use super::*;
use crate::test_support::cases;
use crate::{Frame, Luma, Pixels, Plane, QuarterTurn};

const FRAME: Duration = Duration::from_millis(33);

/// A render of the default pack, enlarged to a camera's size.
fn scene(name: &str) -> RgbImage {
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../models/packs/default/golden");
    let picture = image::open(golden.join(name).join("photo.png")).unwrap().into_rgb8();
    imageops::resize(&picture, 640, 480, imageops::FilterType::Triangle)
}

/// The luma picture of a part of the scene; `shift` moves the camera.
fn seen(scene: &RgbImage, shift: (u32, u32)) -> Luma {
    let part = imageops::crop_imm(scene, shift.0, shift.1, 560, 400).to_image();
    let rgba: Vec<u8> = part.pixels().flat_map(|pixel| [pixel[0], pixel[1], pixel[2], 255]).collect();
    let pixels = Pixels::Rgba(Plane { bytes: &rgba, row_stride: 4 * 560, pixel_stride: 4 });
    let frame = Frame { pixels, width: 560, height: 400, rotation: QuarterTurn::None, mirrored: false };
    frame.luma(160, 114).unwrap()
}

fn darkened(luma: &Luma, by: u8) -> Luma {
    Luma { values: luma.values.iter().map(|value| value / by).collect(), ..luma.clone() }
}

/// Verdicts on frames that come every 33 ms; each search takes 20 ms.
fn verdicts(gate: &mut Gate, frames: impl IntoIterator<Item = Luma>, hint: PowerHint) -> Vec<FrameVerdict> {
    let mut now = Duration::from_secs(100);
    let judge = |luma| {
        now += FRAME;
        let verdict = gate.frame(&luma, now, hint);
        if verdict == FrameVerdict::Search {
            gate.searched(Duration::from_millis(20), now + Duration::from_millis(20));
        }
        verdict
    };
    frames.into_iter().map(judge).collect()
}

#[test]
fn a_still_sharp_scene_is_searched_once_within_three_frames() {
    for name in ["plain-mug", "plain-bowl", "plain-wide"] {
        let luma = seen(&scene(name), (40, 40));
        let verdicts = verdicts(&mut Gate::new(LiveSettings::default()), vec![luma; 40], PowerHint::Normal);
        let moving = FrameVerdict::Skip(SkipReason::Moving);
        assert_eq!(verdicts[..3], [moving, moving, FrameVerdict::Search], "{name}");
        assert_eq!(verdicts.iter().filter(|v| **v == FrameVerdict::Search).count(), 1, "{name}");
        assert_eq!(verdicts[39], FrameVerdict::Skip(SkipReason::Unchanged), "{name}");
    }
}

#[test]
fn a_shaking_camera_counts_as_motion_and_a_trembling_hand_does_not() {
    let scene = scene("plain-mug");
    let shaken = (0..60).map(|at| seen(&scene, ((at * 37) % 80, (at * 53) % 80)));
    let verdicts_ = verdicts(&mut Gate::new(LiveSettings::default()), shaken, PowerHint::Normal);
    assert!(verdicts_.iter().all(|verdict| *verdict == FrameVerdict::Skip(SkipReason::Moving)), "{verdicts_:?}");
    let trembling = (0..6).map(|at| seen(&scene, (40 + at % 2, 40)));
    let verdicts = verdicts(&mut Gate::new(LiveSettings::default()), trembling, PowerHint::Normal);
    assert_eq!(verdicts[2], FrameVerdict::Search);
}

#[test]
fn blurred_and_dark_scenes_are_skipped_with_their_reason() {
    let scene = scene("plain-mug");
    let blurred = seen(&imageops::blur(&scene, 12.0), (40, 40));
    let last = |luma: Luma| {
        *verdicts(&mut Gate::new(LiveSettings::default()), vec![luma; 9], PowerHint::Normal).last().unwrap()
    };
    assert_eq!(last(blurred), FrameVerdict::Skip(SkipReason::Blurred));
    let sharp = seen(&scene, (40, 40));
    assert_eq!(last(darkened(&sharp, 20)), FrameVerdict::Skip(SkipReason::Dark));
    assert_eq!(last(Luma { width: 2, height: 2, values: vec![0; 4] }), FrameVerdict::Skip(SkipReason::Unusable));
    assert_eq!(last(Luma { values: vec![0; 4], ..sharp }), FrameVerdict::Skip(SkipReason::Unusable));
}

#[test]
fn exposure_changes_neither_sharpness_nor_difference() {
    let bright = seen(&scene("plain-mug"), (40, 40));
    let dim = darkened(&bright, 3);
    let ratio = sharpness(&dim) / sharpness(&bright);
    assert!((0.8..1.25).contains(&ratio), "{ratio}");
    assert!(difference(&bright, &dim).unwrap() < 0.02);
    assert_eq!(difference(&bright, &Luma { width: bright.height, height: bright.width, ..bright.clone() }), None);
}

#[test]
fn another_thing_is_searched_and_heat_delays_it() {
    let (mug, bowl) = (seen(&scene("plain-mug"), (40, 40)), seen(&scene("plain-bowl"), (40, 40)));
    let mut frames = vec![mug; 6];
    frames.extend(vec![bowl; 194]);
    let second = |hint| {
        let verdicts = verdicts(&mut Gate::new(LiveSettings::default()), frames.clone(), hint);
        let places: Vec<usize> =
            verdicts.iter().enumerate().filter(|(_, v)| **v == FrameVerdict::Search).map(|(place, _)| place).collect();
        assert_eq!(places.len(), 2, "{verdicts:?}");
        (places[1] - places[0], verdicts[places[1] - 1])
    };
    // 300 ms, three and eight times that, in frames of 33 ms.
    assert_eq!(second(PowerHint::Normal), (10, FrameVerdict::Skip(SkipReason::TooSoon)));
    assert_eq!(second(PowerHint::Saving), (28, FrameVerdict::Skip(SkipReason::Saving)));
    assert_eq!(second(PowerHint::Hot), (73, FrameVerdict::Skip(SkipReason::Hot)));
}

#[test]
fn a_search_under_way_is_waited_for_and_a_lost_one_is_not() {
    let luma = seen(&scene("plain-mug"), (40, 40));
    let mut gate = Gate::new(LiveSettings::default());
    let mut at = |millis| gate.frame(&luma, Duration::from_millis(millis), PowerHint::Normal);
    assert_eq!((at(0), at(33)), (FrameVerdict::Skip(SkipReason::Moving), FrameVerdict::Skip(SkipReason::Moving)));
    assert_eq!(at(66), FrameVerdict::Search);
    assert_eq!(at(5_065), FrameVerdict::Skip(SkipReason::Busy));
    assert_eq!(at(5_066), FrameVerdict::Search);
    let mut later = |millis| gate.frame(&luma, Duration::from_millis(millis), PowerHint::Normal);
    assert_eq!(later(5_100), FrameVerdict::Skip(SkipReason::Busy));
    gate.searched(Duration::from_millis(100), Duration::from_millis(5_166));
    assert_eq!(
        gate.frame(&luma, Duration::from_millis(5_400), PowerHint::Normal),
        FrameVerdict::Skip(SkipReason::Unchanged)
    );
    gate.forget();
    assert_eq!(gate.frame(&luma, Duration::from_millis(5_433), PowerHint::Normal), FrameVerdict::Search);
}

/// Two views of a checkered scene, and the first one with a third of the light.
static VIEWS: LazyLock<[Luma; 3]> = LazyLock::new(|| {
    let tile = |x, y| if (x / 9 + y / 7) % 2 == 0 { 200 } else { 60 };
    let scene = RgbImage::from_fn(640, 480, |x, y| image::Rgb([tile(x, y); 3]));
    [seen(&scene, (0, 0)), seen(&scene, (4, 5)), darkened(&seen(&scene, (0, 0)), 3)]
});

proptest! {
    #![proptest_config(ProptestConfig::with_cases(cases(256)))]

    /// For any frames and times of a monotonic clock, no two searches start within the interval.
    #[test]
    fn searches_are_never_closer_than_the_interval(
        steps in proptest::collection::vec((0u64..400, 0u8..4, 0u64..500, any::<bool>()), 1..80), backwards: bool,
    ) {
        let settings = LiveSettings::default().with_steady_frames(0);
        let (interval, lost) = (settings.min_interval, settings.lost_after);
        let mut gate = Gate::new(settings);
        let mut now = Duration::from_secs(1000);
        let mut last: Option<(Duration, Duration)> = None;
        for (step, view, took, done) in steps {
            let step = Duration::from_millis(step);
            now = if backwards && view == 3 { now.saturating_sub(step * 3) } else { now + step };
            let view = &VIEWS[usize::from(view) % VIEWS.len()];
            if gate.frame(view, now, PowerHint::Normal) == FrameVerdict::Search {
                if let (Some((started, wait)), false) = (last, backwards) {
                    prop_assert!(now - started >= wait, "{started:?} {now:?}");
                }
                let took = Duration::from_millis(took);
                last = Some((now, if done { interval.max(took * 2) } else { lost }));
                if done {
                    gate.searched(took, now);
                }
            }
        }
    }

    #[test]
    fn no_times_or_settings_panic(
        times in proptest::collection::vec((any::<u64>(), any::<u32>(), any::<u64>()), 1..20), load: f32, factor: u32,
        sides in (0u32..5, 0u32..5),
    ) {
        let settings = LiveSettings::default().with_max_load(load).with_power_factors(3, factor).with_steady_frames(0);
        let mut gate = Gate::new(settings);
        let luma = Luma { width: sides.0, height: sides.1, values: vec![90; (sides.0 * sides.1) as usize] };
        for (seconds, nanos, took) in times {
            let now = Duration::new(seconds / 8, nanos);
            gate.frame(&luma, now, PowerHint::Hot);
            gate.searched(Duration::from_secs(took), now);
        }
    }

    /// Two listings that lead in turn by less than the margin do not change places.
    #[test]
    fn listings_with_nearly_equal_scores_do_not_swap(
        scores in proptest::collection::vec((0.50f32..0.529, 0.50f32..0.529), 1..60),
    ) {
        let mut steady = Steady::new(SteadySettings::default().with_wins(u32::MAX));
        let first = steady.update([("a", 0.51), ("b", 0.50)]);
        prop_assert_eq!(first.iter().map(|r| r.id.as_str()).collect::<Vec<_>>(), ["a", "b"]);
        for (a, b) in scores {
            let mut found = [("a", a), ("b", b)];
            found.sort_by(|a, b| b.1.total_cmp(&a.1));
            let list = steady.update(found);
            prop_assert_eq!(list.iter().map(|r| r.id.as_str()).collect::<Vec<_>>(), ["a", "b"]);
        }
    }

    /// Lists hold only recently found listings, no id twice, and no more than `size`. The same results give the same
    /// lists.
    #[test]
    fn lists_are_recent_unique_and_bounded(
        searches in proptest::collection::vec(proptest::collection::vec((0u8..12, -1.0f32..1.0), 0..20), 1..12),
        size in 0usize..6, stay in 0u32..4,
    ) {
        let settings = SteadySettings::default().with_size(size).with_stay(stay);
        let (mut steady, mut again) = (Steady::new(settings.clone()), Steady::new(settings));
        let mut history: Vec<Vec<String>> = Vec::new();
        for search in searches {
            let results: Vec<(String, f32)> = search.into_iter().map(|(id, score)| (id.to_string(), score)).collect();
            let list = steady.update(results.iter().map(|(id, score)| (id.as_str(), *score)));
            prop_assert_eq!(&list, &again.update(results.iter().map(|(id, score)| (id.as_str(), *score))));
            history.push(results.into_iter().map(|(id, _)| id).collect());
            prop_assert!(list.len() <= size);
            let recent: Vec<&String> = history.iter().rev().take(stay as usize + 1).flatten().collect();
            for (place, entry) in list.iter().enumerate() {
                prop_assert!(list[..place].iter().all(|other| other.id != entry.id));
                prop_assert!(recent.contains(&&entry.id), "{} has not been found recently", entry.id);
            }
        }
    }
}

fn ids(list: &[Ranked]) -> Vec<&str> {
    list.iter().map(|ranked| ranked.id.as_str()).collect()
}

#[test]
fn a_listing_moves_up_by_a_margin_or_by_leading_repeatedly() {
    let mut steady = Steady::new(SteadySettings::default());
    assert_eq!(ids(&steady.update([("a", 0.80), ("b", 0.79)])), ["a", "b"]);
    assert_eq!(ids(&steady.update([("b", 0.81), ("a", 0.80)])), ["a", "b"]);
    assert_eq!(ids(&steady.update([("b", 0.81), ("a", 0.80)])), ["a", "b"]);
    assert_eq!(ids(&steady.update([("b", 0.81), ("a", 0.80)])), ["b", "a"], "ahead three times in a row");
    assert_eq!(ids(&steady.update([("c", 0.95), ("b", 0.81), ("a", 0.80)])), ["c", "b", "a"], "by a margin");
}

#[test]
fn a_corrected_listing_is_first_at_once_and_keeps_its_score() {
    let mut steady = Steady::new(SteadySettings::default());
    steady.update([("a", 0.80), ("b", 0.79)]);
    let list = steady.update([("c", 0.30), ("a", 0.80), ("b", 0.79)]);
    assert_eq!((ids(&list), list[0].score), (vec!["c", "a", "b"], 0.30));
    // A frame or two that are less like the corrected photo do not move it.
    let usual = [("a", 0.80), ("b", 0.79), ("c", 0.30)];
    assert_eq!(ids(&steady.update(usual)), ["c", "a", "b"]);
    assert_eq!(ids(&steady.update(usual)), ["c", "a", "b"]);
    assert_eq!(ids(&steady.update(usual)), ["a", "b", "c"]);
    // The latest one is first.
    steady.update([("c", 0.30), ("a", 0.80), ("b", 0.79)]);
    assert_eq!(ids(&steady.update([("b", 0.79), ("a", 0.80), ("c", 0.30)])), ["b", "a", "c"]);
}

#[test]
fn a_missing_listing_stays_a_while_and_another_scene_clears_the_list() {
    let mut steady = Steady::new(SteadySettings::default());
    steady.update([("a", 0.80), ("b", 0.70)]);
    assert_eq!(ids(&steady.update([("b", 0.70)])), ["a", "b"]);
    assert_eq!(ids(&steady.update([("b", 0.70)])), ["a", "b"]);
    assert_eq!(ids(&steady.update([("b", 0.70)])), ["b"]);
    assert_eq!(ids(&steady.update([("x", 0.30), ("y", 0.20)])), ["x", "y"]);
    assert_eq!(ids(&steady.update([("x", f32::NAN), ("y", 0.20)])), ["x", "y"]);
    // A few listings may resemble both things that the camera showed.
    let bag = [("bag", 0.75), ("e", 0.50), ("f", 0.45)];
    let mut steady = Steady::new(SteadySettings::default().with_size(5));
    steady.update([("mug", 0.90), ("b", 0.80), ("c", 0.70), ("d", 0.60), ("e", 0.50)]);
    assert_eq!(ids(&steady.update(bag)), ["bag", "e", "f"]);
}
