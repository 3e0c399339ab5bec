import Foundation
internal import MagpieGenerated

#if canImport(os)
import os
#endif

/// What the library says of its work. Nothing that a shopper photographed or typed is logged.
///
/// ```swift
/// MagpieLog.start(.info)  // to the system's log, on Apple's systems
/// MagpieLog.start(.debug) { line in print(line.level, line.module, line.text) }
/// ```
public enum MagpieLog {
    /// How much is logged.
    public enum Level: Sendable, Hashable, Comparable {
        /// Nothing.
        case off
        /// Defects and files that cannot be used.
        case error
        /// What may be wrong.
        case warning
        /// What was opened, and what was refused.
        case info
        /// Every call with its times.
        case debug
    }

    /// A line of the log.
    public struct Line: Sendable, Hashable {
        /// How grave it is.
        public let level: Level
        /// Which part of the library it is from.
        public let module: String
        /// What is said.
        public let text: String
    }

    /// Starts logging to `sink`, or changes level and sink. The sink is called on the thread that logs: it must be
    /// quick, and must not call the library.
    ///
    /// - Returns: Whether it could: another Rust library in the app may have taken the place of the logger.
    @discardableResult
    public static func start(_ level: Level, to sink: @escaping @Sendable (Line) -> Void) -> Bool {
        startLogging(level: level.generated, sink: Sink(sink))
    }

    /// Ends logging and lets the sink go.
    public static func stop() {
        _ = startLogging(level: .off, sink: nil)
    }

    #if canImport(os)
    /// Starts logging to the system's log, under the category `Magpie`.
    ///
    /// - Returns: As ``start(_:to:)``.
    @discardableResult
    public static func start(_ level: Level, subsystem: String = "dev.magpie") -> Bool {
        let logger = Logger(subsystem: subsystem, category: "Magpie")
        return start(level) { line in
            logger.log(level: line.level.system, "\(line.module, privacy: .public): \(line.text, privacy: .public)")
        }
    }
    #endif
}

extension MagpieLog.Level {
    fileprivate init(_ level: LogLevel) {
        self =
            switch level {
            case .off: .off
            case .error: .error
            case .warn: .warning
            case .info: .info
            case .debug: .debug
            }
    }

    fileprivate var generated: LogLevel {
        switch self {
        case .off: .off
        case .error: .error
        case .warning: .warn
        case .info: .info
        case .debug: .debug
        }
    }

    #if canImport(os)
    fileprivate var system: OSLogType {
        switch self {
        case .off, .debug: .debug
        case .info: .info
        case .warning: .default
        case .error: .error
        }
    }
    #endif
}

private final class Sink: LogSink {
    private let take: @Sendable (MagpieLog.Line) -> Void

    init(_ take: @escaping @Sendable (MagpieLog.Line) -> Void) {
        self.take = take
    }

    func log(level: LogLevel, module: String, line: String) {
        take(MagpieLog.Line(level: MagpieLog.Level(level), module: module, text: line))
    }
}
