import Foundation
import Magpie
import Testing

/// Filters keep the right listings, whatever their values contain.
@Suite struct FilterTests {
    private let price = Filter.Column("price")
    private let colour = Filter.Column("colour")

    @Test func filtersAreWrittenInTheFilterLanguage() {
        let filter = (colour == "red" || colour == "sea green") && price <= 50 && !(price < 1.5)
        let colours = "('colour' = 'red' or 'colour' = 'sea green')"
        #expect(filter.description == "(\(colours) and 'price' <= '50' and not 'price' < '1.5')")
        #expect((!(!(colour != "red"))).description == "'colour' != 'red'")
        #expect((price >= 1e30 && price > -2).description == "('price' >= '1e+30' and 'price' > '-2')")
        #expect((price == 3 || price != 4).description == "('price' = '3' or 'price' != '4')")
        #expect(colour.isOne(of: ["red", "it's"]).description == "'colour' in ('red', 'it''s')")
        #expect((Filter(verbatim: "a=1 or b=2") && price > 1).description == "((a=1 or b=2) and 'price' > '1')")
    }

    @Test func anyTextIsQuotedAsAValue() async throws {
        let texts = [
            "'", "''", "\"", "' or price > 0 or colour = '", "red' or 'red", "not", "(", "", " ", "\n\u{0}é€🪻",
            "\\", "%", "a,b",
        ]
        for text in texts {
            #expect(try await count(colour == text) == 0, "\(text)")
            #expect(try await count(colour != text) == 128, "\(text)")
            #expect(try await count(colour.isOne(of: [text, "green"])) == count(colour == "green"), "\(text)")
        }
        #expect(try await count(Filter.Column("shop") == "Larkspur & Pine") == 16)
    }

    @Test func anEmptyListMatchesNothing() async throws {
        #expect(try await count(colour.isOne(of: [])) == 0)
        #expect(try await count(price.isOne(of: [])) == 0)
    }

    @Test func aLongChainStaysFlat() async throws {
        let none = (0..<500).map { colour == "no colour \($0)" }.reduce(colour == "green") { $0 || $1 }
        #expect(none.description.count > 10_000)
        let some = (0..<200).map { price != Double(-$0 - 1) }.reduce(price > 0) { $0 && $1 }
        #expect(some.description.count < 10_000)
        #expect(try await count(some) == 128)
        let error = await failure { try await count(none) }
        #expect(error?.kind == .request)
        let reason = error?.reason ?? ""
        #expect(reason.contains("longer"))
    }

    /// Returns the number of listings that pass.
    private func count(_ filter: Filter) async throws -> Int {
        let options = SearchOptions(count: 200, filter: filter)
        return try await Demo.engine.search(photo: Demo.query("mug-01"), options: options).listings.count
    }
}
