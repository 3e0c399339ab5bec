import Foundation
internal import MagpieGenerated

extension Engine {
    /// Searches while the camera looks around: with the frames that deserve it, and with a list that holds still.
    ///
    /// A frame is passed over while the camera moves, where there is nothing to see, and where nothing has changed. Of
    /// the frames that come while a search runs, only the newest is of use: let the rest go, as an `AsyncStream` with
    /// `bufferingNewest(1)` does. Where the filter changes, start a new one.
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
    ///   - frames: What the camera sees, ended by its end or its error.
    ///   - settings: How often to search, and how firmly the list holds.
    ///   - options: The options for a search with this frame, e.g. its crop.
    public func live<Frames: AsyncSequence>(
        _ frames: Frames, settings: LiveSettings = LiveSettings(),
        options: @escaping @Sendable (Frame) -> SearchOptions = { _ in SearchOptions() }
    ) -> LiveSearch<Frames> where Frames.Element == Frame {
        LiveSearch(engine: self, frames: frames, settings: settings, options: options)
    }
}

/// What became of the camera's frames, one after the other; ``Engine/live(_:settings:options:)`` makes it.
///
/// It throws what a search throws, and what the frames throw.
public struct LiveSearch<Frames: AsyncSequence>: AsyncSequence where Frames.Element == Frame {
    /// What became of a frame.
    public typealias Element = LiveUpdate

    fileprivate let engine: Engine
    fileprivate let frames: Frames
    fileprivate let settings: LiveSettings
    fileprivate let options: @Sendable (Frame) -> SearchOptions

    /// Starts with an empty list.
    public func makeAsyncIterator() -> Iterator {
        Iterator(self)
    }

    /// Takes frames as it is asked for updates.
    public struct Iterator: AsyncIteratorProtocol {
        private let live: LiveSearch
        private var frames: Frames.AsyncIterator
        private let gate: LiveGate
        private let start = ContinuousClock.now
        /// The list on show, by id.
        private var shown: [Listing.ID: Listing] = [:]

        fileprivate init(_ live: LiveSearch) {
            self.live = live
            frames = live.frames.makeAsyncIterator()
            gate = LiveGate(settings: live.settings.generated)
        }

        /// What became of the next frame; nil after the last.
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
            // However it ends, the gate waits for the end.
            defer { gate.searched(tookMs: elapsed - began, nowMs: elapsed) }
            return .found(steady(try await engine.search(frame: frame, options: live.options(frame))))
        }

        /// The results with the list to show in the place of their own.
        private mutating func steady(_ results: SearchResults) -> SearchResults {
            let found = Dictionary(results.listings.map { ($0.id, $0) }) { first, _ in first }
            let known = shown.merging(found) { _, new in new }
            let list = gate.results(results: results.listings.map { Ranked(id: $0.id, score: $0.score) })
            let listings = list.compactMap { known[$0.id] }
            shown = Dictionary(listings.map { ($0.id, $0) }) { first, _ in first }
            return SearchResults(
                listings: listings, confidence: results.confidence, attributes: results.attributes,
                times: results.times, asked: results.asked)
        }

        /// Milliseconds since the start.
        private var elapsed: UInt64 {
            UInt64((ContinuousClock.now - start) / .milliseconds(1))
        }
    }
}

/// What became of a frame.
public enum LiveUpdate: Sendable, Hashable {
    /// It was searched with. The listings are the list to show: it follows the results without flickering.
    case found(SearchResults)
    /// It was passed over.
    case skipped(SkipReason)
}

/// Why a frame was passed over.
public enum SkipReason: Sendable, Hashable {
    /// It is too small to be judged.
    case unusable
    /// A search is under way.
    case busy
    /// The last search was too recent, or took so long that a rest is due.
    case tooSoon
    /// It would be time if the phone did not save its battery.
    case saving
    /// It would be time if the phone were not hot.
    case hot
    /// It is too dark to see much.
    case dark
    /// The camera or the scene is moving, or has only just come to rest.
    case moving
    /// It is out of focus, or there is nothing but plain surfaces.
    case blurred
    /// It is what was searched last.
    case unchanged
}

/// How often a live search searches, and how firmly its list holds.
public struct LiveSettings: Sendable {
    /// Least time from one search's start to the next's.
    public var minInterval: Duration
    /// Length of the list. Searches may find more: those stand by.
    public var count: Int
    /// A listing passes the one above it at once if its score is higher by more than this.
    public var margin: Float
    /// What is to be spared, asked for each frame.
    public var power: @Sendable () -> PowerHint

    /// Settings, each with its usual value; what is to be spared is what the system says.
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

/// What the system says of battery and heat.
public enum PowerHint: Sendable, Hashable {
    /// Nothing to spare.
    case normal
    /// The battery is to be saved: searches are three times as far apart.
    case saving
    /// The phone is hot: searches are eight times as far apart.
    case hot

    /// What the system says now; nothing to spare where it does not say.
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
        // Out of range, the nearest that can be: there is no call yet that could fail.
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
    /// Nil where the frame deserves a search.
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
