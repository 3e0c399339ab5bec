import Foundation
internal import MagpieGenerated

#if canImport(os)
import os
#endif

/// The library's log. Nothing that a shopper photographed or typed is logged.
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
        /// Defects of the library, and files that cannot be used.
        case error
        /// Possible problems.
        case warning
        /// What was opened, and which inputs were refused.
        case info
        /// Every call, with its times.
        case debug
    }

    /// A line of the log.
    public struct Line: Sendable, Hashable {
        /// The severity.
        public let level: Level
        /// The part of the library that logs.
        public let module: String
        /// The message.
        public let text: String

        /// Creates a line, for example to test a sink.
        public init(level: Level, module: String, text: String) {
            self.level = level
            self.module = module
            self.text = text
        }
    }

    /// Starts logging to `sink`, or changes level and sink. The sink is called on the thread that logs: it must be fast
    /// and must not call the library.
    ///
    /// - Returns: False if another Rust library in the app has already installed a logger.
    @discardableResult
    public static func start(_ level: Level, to sink: @escaping @Sendable (Line) -> Void) -> Bool {
        startLogging(level: level.generated, sink: Sink(sink))
    }

    /// Stops logging and releases the sink.
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
