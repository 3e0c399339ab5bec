internal import MagpieGenerated

/// When and for how long to ask a server.
///
/// ```swift
/// var asking = AskOptions(monitor.connectivity)
/// asking.setting = .unmeteredOnly
/// ```
public struct AskOptions: Sendable, Hashable {
    /// The phone's current network.
    public var connectivity: Connectivity
    /// What the user allows.
    public var setting: Setting
    /// How long the server's answer may take, retries included, counted from the end of the phone's own search. Below
    /// 100 ms the server is not asked.
    public var deadline: Duration

    /// When the user allows a server to be asked.
    public enum Setting: Sendable, Hashable {
        /// Ask when it is likely to improve the results.
        case whenUseful
        /// As ``whenUseful``, but not on metered networks.
        case unmeteredOnly
        /// Never ask.
        case never
    }

    /// Creates options for this network; the others have defaults.
    public init(
        _ connectivity: Connectivity, setting: Setting = .whenUseful, deadline: Duration = .milliseconds(1500)
    ) {
        self.connectivity = connectivity
        self.setting = setting
        self.deadline = deadline
    }
}

/// The phone's network connection.
public enum Connectivity: Sendable, Hashable {
    /// No network.
    case offline
    /// A network that is billed by volume: the server is asked less often, with one request at a time.
    case metered
    /// Any other network.
    case unmetered
}

/// Whether a server was asked, and with what outcome.
public struct Asked: Sendable, Hashable {
    /// Why the server was asked or not.
    public let reason: Reason
    /// How the request ended.
    public let outcome: Outcome
    /// The number of HTTP requests sent.
    public let requests: Int
    /// How long it took after the phone's own search; zero if the server was not asked.
    public let time: Duration

    /// Creates a value, for example for an app's tests.
    public init(reason: Reason, outcome: Outcome, requests: Int = 0, time: Duration = .zero) {
        self.reason = reason
        self.outcome = outcome
        self.requests = requests
        self.time = time
    }

    /// Why a server was asked or not.
    public enum Reason: Sendable, Hashable {
        /// Not asked: the user's setting does not allow it, at all or on this network.
        case notAllowed
        /// Not asked: there is no network.
        case offline
        /// Not asked: the server failed repeatedly or sent `Retry-After`, and its circuit breaker is open.
        case serverResting
        /// Not asked: the deadline is too short for an answer.
        case noTime
        /// Not asked: the phone's answer is good enough.
        case goodEnough
        /// Asked: the filter names columns that are missing from the phone's catalogue.
        case filterUnknown
        /// Asked: the phone found nothing.
        case nothingFound
        /// Asked: the phone's catalogue has too few listings of the photo's category.
        case categoryMissing
        /// Asked: the phone found fewer listings than requested.
        case tooFew
        /// Asked: the phone's first listing is probably wrong.
        case doubtful
    }

    /// How a request to a server ended.
    public enum Outcome: Sendable, Hashable {
        /// The server was not asked.
        case notAsked
        /// The request is in progress: these are the phone's own results.
        case pending
        /// The server answered, and its listings are merged into the results.
        case answered
        /// The server did not answer: these are the phone's own results.
        ///
        /// The name is a stable identifier: `unreachable`, `untrusted`, `broken`, `timed_out`, `busy`, `server_error`,
        /// `refused` (a wrong token, or a column that the server does not have), `wrong_model` (update the app or its
        /// model), `too_large`, `bad_reply`, `resting` or `cancelled`. The reason is the same in English, for
        /// developers.
        case failed(name: String, reason: String)
    }
}

extension AskOptions {
    var generated: MagpieGenerated.AskOptions {
        // Values out of range are clamped.
        let milliseconds = min(max(deadline / .milliseconds(1), 0), Double(UInt32.max))
        let setting: AskSetting =
            switch setting {
            case .whenUseful: .whenUseful
            case .unmeteredOnly: .unmeteredOnly
            case .never: .never
            }
        let connectivity: MagpieGenerated.Connectivity =
            switch connectivity {
            case .offline: .offline
            case .metered: .metered
            case .unmetered: .unmetered
            }
        return MagpieGenerated.AskOptions(
            connectivity: connectivity, setting: setting, deadlineMs: UInt32(milliseconds))
    }
}

extension Asked {
    init(_ asked: MagpieGenerated.Asked) {
        self.init(
            reason: Reason(asked.reason), outcome: Outcome(asked.ended), requests: Int(asked.requests),
            time: .milliseconds(asked.tookMs))
    }
}

extension Asked.Reason {
    fileprivate init(_ reason: AskReason) {
        switch reason {
        case .notAllowed: self = .notAllowed
        case .offline: self = .offline
        case .serverResting: self = .serverResting
        case .noTime: self = .noTime
        case .goodEnough: self = .goodEnough
        case .filterUnknown: self = .filterUnknown
        case .nothingFound: self = .nothingFound
        case .categoryMissing: self = .categoryMissing
        case .tooFew: self = .tooFew
        case .doubtful: self = .doubtful
        }
    }
}

extension Asked.Outcome {
    fileprivate init(_ ended: AskedEnd) {
        switch ended {
        case .notAsked: self = .notAsked
        case .pending: self = .pending
        case .answered: self = .answered
        case .failed(let name, let reason): self = .failed(name: name, reason: reason)
        }
    }
}
