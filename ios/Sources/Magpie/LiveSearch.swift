import Foundation
internal import MagpieGenerated

extension Engine {
    /// Searches continuously with camera frames that are worth it, and keeps the list of results stable.
    ///
    /// A frame is skipped if the camera is moving, if there is nothing to see, or if nothing has changed. Of the frames
    /// that arrive during a search, only the newest is useful: drop the others, as an `AsyncStream` with
    /// `bufferingNewest(1)` does. If the filter changes, start a new live search.
    ///
    /// ```swift
    /// for try await update in engine.live(frames) {
    ///     switch update {
    ///     case .found(let results): listings = results.listings
    ///     case .skipped(.moving): hint = "Hold still"
    ///     case .skipped: break
    ///     }
    /// }
    /// ```
    ///
    /// - Parameters:
    ///   - frames: The camera's frames. The live search ends when they end or throw.
    ///   - settings: How often to search, and how stable the list is.
    ///   - options: The options for a search with this frame, such as its crop.
    public func live<Frames: AsyncSequence>(
        _ frames: Frames, settings: LiveSettings = LiveSettings(),
        options: @escaping @Sendable (Frame) -> SearchOptions = { _ in SearchOptions() }
    ) -> LiveSearch<Frames> where Frames.Element == Frame {
        LiveSearch(engine: self, frames: frames, settings: settings, options: options)
    }
}

/// A sequence of updates, one per camera frame; see ``Engine/live(_:settings:options:)``.
///
/// It throws what searches throw and what the frames throw.
public struct LiveSearch<Frames: AsyncSequence>: AsyncSequence where Frames.Element == Frame {
    /// The update for one frame.
    public typealias Element = LiveUpdate

    fileprivate let engine: Engine
    fileprivate let frames: Frames
    fileprivate let settings: LiveSettings
    fileprivate let options: @Sendable (Frame) -> SearchOptions

    /// Starts with an empty list.
    public func makeAsyncIterator() -> Iterator {
        Iterator(self)
    }

    /// Takes a frame each time it is asked for an update.
    public struct Iterator: AsyncIteratorProtocol {
        private let live: LiveSearch
        private var frames: Frames.AsyncIterator
        private let gate: LiveGate
        private let start = ContinuousClock.now
        /// The displayed listings, by id.
        private var shown: [Listing.ID: Listing] = [:]

        fileprivate init(_ live: LiveSearch) {
            self.live = live
            frames = live.frames.makeAsyncIterator()
            gate = LiveGate(settings: live.settings.generated)
        }

        /// Processes the next frame. Returns nil after the last one.
        public mutating func next() async throws -> LiveUpdate? {
            guard let frame = try await frames.next() else { return nil }
            let (engine, gate, now, power) = (live.engine, gate, elapsed, live.settings.power().generated)
            let planes = try Planes(frame)
            let verdict = try await engine.run { _, _ in
                try gate.frame(
                    first: planes.first, second: planes.second, third: planes.third, layout: planes.layout, nowMs: now,
                    power: power)
            }
            if let reason = SkipReason(verdict) { return .skipped(reason) }
            let began = elapsed
            // The gate must learn of the end, even if the search fails.
            defer { gate.searched(tookMs: elapsed - began, nowMs: elapsed) }
            return .found(steady(try await engine.search(frame: frame, options: live.options(frame))))
        }

        /// Replaces the listings of the results with the stable list to show.
        private mutating func steady(_ results: SearchResults) -> SearchResults {
            let found = Dictionary(results.listings.map { ($0.id, $0) }) { first, _ in first }
            let known = shown.merging(found) { _, new in new }
            let list = gate.results(results: results.listings.map { Ranked(id: $0.id, score: $0.score) })
            let listings = list.compactMap { known[$0.id] }
            shown = Dictionary(listings.map { ($0.id, $0) }) { first, _ in first }
            return SearchResults(
                listings: listings, confidence: results.confidence, attributes: results.attributes,
                times: results.times, asked: results.asked,
                photoIsIncomplete: results.photoIsIncomplete)
        }

        /// Milliseconds since the start.
        private var elapsed: UInt64 {
            UInt64((ContinuousClock.now - start) / .milliseconds(1))
        }
    }
}

/// What happened to a frame.
public enum LiveUpdate: Sendable, Hashable {
    /// The frame was searched with. The listings are the list to show, which follows the results without flickering.
    case found(SearchResults)
    /// The frame was skipped.
    case skipped(SkipReason)
}

/// Why a frame was skipped.
public enum SkipReason: Sendable, Hashable {
    /// The frame is too small to be analysed.
    case unusable
    /// A search is in progress.
    case busy
    /// The last search started too recently, or took so long that a pause is due.
    case tooSoon
    /// Postponed because Low Power Mode is on.
    case saving
    /// Postponed because the phone is hot.
    case hot
    /// The frame is too dark.
    case dark
    /// The camera or the scene is moving, or stopped only just now.
    case moving
    /// The frame is out of focus or shows only plain surfaces.
    case blurred
    /// The scene is the one of the last search.
    case unchanged
}

/// How often a live search runs, and how stable its list is.
public struct LiveSettings: Sendable {
    /// Minimum time between the starts of two searches.
    public var minInterval: Duration
    /// Length of the list. Searches may find more listings, which can move up later.
    public var count: Int
    /// A listing overtakes the one above it at once if its score is higher by more than this.
    public var margin: Float
    /// The battery and thermal state, read for each frame.
    public var power: @Sendable () -> PowerHint

    /// Creates settings; each has a default. By default, `power` is what the system reports.
    public init(
        minInterval: Duration = .milliseconds(300), count: Int = 10, margin: Float = 0.03,
        power: @escaping @Sendable () -> PowerHint = { .system }
    ) {
        self.minInterval = minInterval
        self.count = count
        self.margin = margin
        self.power = power
    }
}

/// The system's battery and thermal state.
public enum PowerHint: Sendable, Hashable {
    /// No restriction.
    case normal
    /// Low Power Mode is on: the interval between searches is three times as long.
    case saving
    /// The phone is hot: the interval between searches is eight times as long.
    case hot

    /// The state that the system reports now; ``normal`` if it reports none.
    public static var system: PowerHint {
        #if canImport(Darwin)
        let process = ProcessInfo.processInfo
        switch process.thermalState {
        case .serious, .critical: return .hot
        default: return process.isLowPowerModeEnabled ? .saving : .normal
        }
        #else
        return .normal
        #endif
    }
}

extension LiveSettings {
    fileprivate var generated: MagpieGenerated.LiveSettings {
        // Values out of range are clamped, because no call here could throw.
        let interval = min(max(minInterval / .milliseconds(1), 0), Double(UInt32.max))
        return MagpieGenerated.LiveSettings(
            minIntervalMs: UInt32(interval), listings: UInt32(clamping: count), margin: margin)
    }
}

extension PowerHint {
    fileprivate var generated: MagpieGenerated.PowerHint {
        switch self {
        case .normal: .normal
        case .saving: .saving
        case .hot: .hot
        }
    }
}

extension SkipReason {
    /// Returns nil if the frame is worth a search.
    fileprivate init?(_ verdict: Verdict) {
        switch verdict {
        case .search: return nil
        case .unusable: self = .unusable
        case .busy: self = .busy
        case .tooSoon: self = .tooSoon
        case .saving: self = .saving
        case .hot: self = .hot
        case .dark: self = .dark
        case .moving: self = .moving
        case .blurred: self = .blurred
        case .unchanged: self = .unchanged
        }
    }
}
