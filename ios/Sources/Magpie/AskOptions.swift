internal import MagpieGenerated

/// What asking a server depends on beside what is found.
///
/// ```swift
/// var asking = AskOptions(monitor.connectivity)
/// asking.setting = .unmeteredOnly
/// ```
public struct AskOptions: Sendable, Hashable {
    /// What the phone can reach.
    public var connectivity: Connectivity
    /// What the user allows.
    public var setting: Setting
    /// What the server's answer may take with all retries, from the phone's own search on. With less than 100 ms the
    /// server is not asked.
    public var deadline: Duration

    /// What the user allows.
    public enum Setting: Sendable, Hashable {
        /// Ask where it may help.
        case whenUseful
        /// The same, but not on metered networks.
        case unmeteredOnly
        /// Never.
        case never
    }

    /// Options, each with its usual value.
    public init(
        _ connectivity: Connectivity, setting: Setting = .whenUseful, deadline: Duration = .milliseconds(1500)
    ) {
        self.connectivity = connectivity
        self.setting = setting
        self.deadline = deadline
    }
}

/// What the phone can reach.
public enum Connectivity: Sendable, Hashable {
    /// Nothing.
    case offline
    /// A network that costs by the byte: the server is asked less, and one request at a time.
    case metered
    /// Any other network.
    case unmetered
}

/// Whether a server was asked, and how that ended.
public struct Asked: Sendable, Hashable {
    /// Why it was asked, or not.
    public let reason: Reason
    /// How that ended.
    public let outcome: Outcome
    /// Requests that were sent.
    public let requests: Int
    /// How long it took after the phone's own search; zero where it was not asked.
    public let time: Duration

    /// Why a server is asked, or not.
    public enum Reason: Sendable, Hashable {
        /// Not asked: the user does not want it, here or at all.
        case notAllowed
        /// Not asked: there is no network.
        case offline
        /// Not asked: the server failed lately, or asked to be left alone.
        case serverResting
        /// Not asked: the answer would come too late.
        case noTime
        /// Not asked: the phone's answer is good enough.
        case goodEnough
        /// Asked: the filter names columns that the phone's catalogue does not have.
        case filterUnknown
        /// Asked: the phone found nothing.
        case nothingFound
        /// Asked: the phone has too little of the photo's category.
        case categoryMissing
        /// Asked: the phone found fewer listings than wanted.
        case tooFew
        /// Asked: the phone's first listing is probably not it.
        case doubtful
    }

    /// How asking a server ended.
    public enum Outcome: Sendable, Hashable {
        /// It was not asked.
        case notAsked
        /// It is being asked: these are the phone's own results.
        case pending
        /// With an answer, which the results are merged with.
        case answered
        /// Without an answer: these are the phone's own results.
        ///
        /// The name is `unreachable`, `untrusted`, `broken`, `timed_out`, `busy`, `server_error`, `refused` (a wrong
        /// token, a column that the server does not have), `wrong_model` (update the app or its model), `too_large`,
        /// `bad_reply`, `resting` or `cancelled`; the reason is the same in English, for developers.
        case failed(name: String, reason: String)
    }
}

extension AskOptions {
    var generated: MagpieGenerated.AskOptions {
        // Out of range, the nearest that can be.
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
