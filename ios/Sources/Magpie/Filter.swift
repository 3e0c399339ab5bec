/// Which listings count: conditions on the catalogue's columns, joined with `&&`, `||` and `!`.
///
/// ```swift
/// let price = Filter.Column("price"), colour = Filter.Column("colour")
/// let filter = Filter.Column("category") == "Mugs" && price < 50 && colour.isOne(of: ["red", "sea green"])
/// let results = try await engine.search(photo: photo, options: SearchOptions(filter: filter))
/// ```
///
/// Names and values are quoted, so that they may hold anything that a shopper typed. ``EngineInfo/columns`` says what
/// a catalogue can be filtered by; a search throws ``MagpieError/request(reason:)`` where the filter names another
/// column, or compares a number with a word.
public struct Filter: Sendable, Hashable {
    fileprivate indirect enum Node: Hashable, Sendable {
        case and([Node])
        case or([Node])
        case not(Node)
        case condition(String)
    }

    fileprivate let node: Node

    /// A filter that is written in the filter language already, e.g. `category=Mugs and price<50`.
    public init(verbatim text: String) {
        // In parentheses, so that what it is joined with does not reach into it.
        node = .condition("(\(text))")
    }

    private init(_ node: Node) {
        self.node = node
    }

    /// Both hold.
    public static func && (left: Filter, right: Filter) -> Filter {
        Filter(.and(left.parts(of: \.conjuncts) + right.parts(of: \.conjuncts)))
    }

    /// At least one holds.
    public static func || (left: Filter, right: Filter) -> Filter {
        Filter(.or(left.parts(of: \.disjuncts) + right.parts(of: \.disjuncts)))
    }

    /// It does not hold.
    public static prefix func ! (filter: Filter) -> Filter {
        if case .not(let node) = filter.node { Filter(node) } else { Filter(.not(filter.node)) }
    }

    // A chain stays flat: the filter language bounds how deep parentheses nest.
    private func parts(of list: (Node) -> [Node]?) -> [Node] {
        list(node) ?? [node]
    }
}

extension Filter.Node {
    fileprivate var conjuncts: [Filter.Node]? { if case .and(let parts) = self { parts } else { nil } }
    fileprivate var disjuncts: [Filter.Node]? { if case .or(let parts) = self { parts } else { nil } }

    fileprivate var text: String {
        switch self {
        case .and(let parts): "(\(parts.map(\.text).joined(separator: " and ")))"
        case .or(let parts): "(\(parts.map(\.text).joined(separator: " or ")))"
        case .not(let part): "not \(part.text)"
        case .condition(let text): text
        }
    }
}

extension Filter: CustomStringConvertible {
    /// The filter in the filter language.
    public var description: String { node.text }
}

extension Filter {
    /// A column of the catalogue, to be compared with a value.
    public struct Column: Sendable {
        /// Its name.
        public let name: String

        /// The column of this name.
        public init(_ name: String) {
            self.name = name
        }

        /// The value is one of these words.
        public func isOne(of values: some Sequence<String>) -> Filter {
            let values = values.map(quoted)
            // The language has no empty list; this holds for no listing, whether the column has words or numbers.
            guard !values.isEmpty else { return self == 0 && self != 0 }
            return Filter(.condition("\(quoted(name)) in (\(values.joined(separator: ", ")))"))
        }

        /// The value is this word.
        public static func == (column: Column, value: String) -> Filter { column.compare("=", value) }
        /// The value is another word, or there is none.
        public static func != (column: Column, value: String) -> Filter { column.compare("!=", value) }
        /// The value is this number.
        public static func == (column: Column, value: Double) -> Filter { column.compare("=", number(value)) }
        /// The value is another number, or there is none.
        public static func != (column: Column, value: Double) -> Filter { column.compare("!=", number(value)) }
        /// The value is below this number.
        public static func < (column: Column, value: Double) -> Filter { column.compare("<", number(value)) }
        /// The value is at most this number.
        public static func <= (column: Column, value: Double) -> Filter { column.compare("<=", number(value)) }
        /// The value is above this number.
        public static func > (column: Column, value: Double) -> Filter { column.compare(">", number(value)) }
        /// The value is at least this number.
        public static func >= (column: Column, value: Double) -> Filter { column.compare(">=", number(value)) }

        private func compare(_ symbol: String, _ value: String) -> Filter {
            Filter(.condition("\(quoted(name)) \(symbol) \(quoted(value))"))
        }
    }
}

private func quoted(_ text: String) -> String {
    "'\(text.split(separator: "'", omittingEmptySubsequences: false).joined(separator: "''"))'"
}

private func number(_ value: Double) -> String {
    // A whole number is written as one, so that it also fits a column of words such as sizes.
    Int64(exactly: value).map(String.init) ?? String(value)
}
