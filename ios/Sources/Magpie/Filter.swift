/// A condition on the listings of a catalogue: comparisons of columns, joined with `&&`, `||` and `!`.
///
/// ```swift
/// let price = Filter.Column("price"), colour = Filter.Column("colour")
/// let filter = Filter.Column("category") == "Mugs" && price < 50 && colour.isOne(of: ["red", "sea green"])
/// let results = try await engine.search(photo: photo, options: SearchOptions(filter: filter))
/// ```
///
/// Names and values are quoted, so a value may be any text that a shopper typed. ``EngineInfo/columns`` lists the
/// columns that a filter can name. A search throws ``MagpieError/request(reason:)`` if the filter names another column,
/// or compares a number with a word.
public struct Filter: Sendable, Hashable {
    fileprivate indirect enum Node: Hashable, Sendable {
        case and([Node])
        case or([Node])
        case not(Node)
        case condition(String)
    }

    fileprivate let node: Node

    /// Creates a filter from the filter language, such as `category=Mugs and price<50`. Searches parse it.
    public init(verbatim text: String) {
        // In parentheses, so that operators joined to it cannot change its meaning.
        node = .condition("(\(text))")
    }

    private init(_ node: Node) {
        self.node = node
    }

    /// Both conditions hold.
    public static func && (left: Filter, right: Filter) -> Filter {
        Filter(.and(left.parts(of: \.conjuncts) + right.parts(of: \.conjuncts)))
    }

    /// At least one of the conditions holds.
    public static func || (left: Filter, right: Filter) -> Filter {
        Filter(.or(left.parts(of: \.disjuncts) + right.parts(of: \.disjuncts)))
    }

    /// The condition does not hold.
    public static prefix func ! (filter: Filter) -> Filter {
        if case .not(let node) = filter.node { Filter(node) } else { Filter(.not(filter.node)) }
    }

    // Chains stay flat, because the filter language limits the nesting of parentheses.
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
    /// The text in the filter language.
    public var description: String { node.text }
}

extension Filter {
    /// A column of the catalogue, to compare with values.
    public struct Column: Sendable {
        /// The column's name.
        public let name: String

        /// Creates a reference to the column of this name.
        public init(_ name: String) {
            self.name = name
        }

        /// The value is one of these words.
        public func isOne(of values: some Sequence<String>) -> Filter {
            let values = values.map(quoted)
            // The language has no empty list. This condition is never true, for words as well as for numbers.
            guard !values.isEmpty else { return self == 0 && self != 0 }
            return Filter(.condition("\(quoted(name)) in (\(values.joined(separator: ", ")))"))
        }

        /// The value is this word.
        public static func == (column: Column, value: String) -> Filter { column.compare("=", value) }
        /// The value is another word, or the listing has no value.
        public static func != (column: Column, value: String) -> Filter { column.compare("!=", value) }
        /// The value is this number.
        public static func == (column: Column, value: Double) -> Filter { column.compare("=", number(value)) }
        /// The value is another number, or the listing has no value.
        public static func != (column: Column, value: Double) -> Filter { column.compare("!=", number(value)) }
        /// The value is less than this number.
        public static func < (column: Column, value: Double) -> Filter { column.compare("<", number(value)) }
        /// The value is at most this number.
        public static func <= (column: Column, value: Double) -> Filter { column.compare("<=", number(value)) }
        /// The value is greater than this number.
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
    // Whole numbers are written as integers, so that they also match in a column of words such as sizes.
    Int64(exactly: value).map(String.init) ?? String(value)
}
