package dev.magpie

import org.junit.jupiter.api.Assertions.assertEquals
import org.junit.jupiter.api.Assertions.assertNotEquals
import org.junit.jupiter.api.Assertions.assertTrue
import org.junit.jupiter.api.Test
import org.junit.jupiter.api.assertThrows

/** Filters keep the right listings, whatever a user typed. */
class FilterTest {
    private val mug = Demo.photo("mug-01.jpg")

    private suspend fun SearchEngine.all(filter: Filter?): List<Listing> =
        search(mug, SearchOptions(limit = SearchOptions.MAX_LIMIT, recall = 1f, filter = filter)).listings

    private val Listing.price get() = checkNotNull(this["price"]).toDouble()

    @Test
    fun `each comparison keeps the right listings`() = withEngine { engine ->
        val all = engine.all(null)
        val price = column("price")
        val category = column("category")
        val cases =
            listOf<Pair<Filter, (Listing) -> Boolean>>(
                (category equalTo "Mugs") to { it["category"] == "Mugs" },
                (category notEqualTo "Mugs") to { it["category"] != "Mugs" },
                (category.oneOf("Mugs", "Bowls")) to { it["category"] in setOf("Mugs", "Bowls") },
                (category oneOf listOf("Mugs")) to { it["category"] == "Mugs" },
                (price lessThan 18) to { it.price < 18 },
                (price atMost 18) to { it.price <= 18 },
                (price greaterThan 18.0) to { it.price > 18 },
                (price atLeast 18f) to { it.price >= 18 },
                (price equalTo 9.5) to { it.price == 9.5 },
                (price notEqualTo 18L) to { it.price != 18.0 },
                (price greaterThan 1e-7) to { it.price > 0 },
                !(category equalTo "Mugs") to { it["category"] != "Mugs" },
            )
        for ((filter, holds) in cases) {
            val kept = engine.all(filter)
            assertEquals(all.filter(holds).map { it.id }, kept.map { it.id }, "$filter")
            assertTrue(kept.isNotEmpty(), "$filter keeps nothing")
        }
    }

    @Test
    fun `and, or and not nest as written`() = withEngine { engine ->
        val mugs = column("category") equalTo "Mugs"
        val cheap = column("price") lessThan 15
        val green = column("colour") equalTo "green"
        val all = engine.all(null)

        suspend fun check(filter: Filter, holds: (mug: Boolean, cheap: Boolean, green: Boolean) -> Boolean) {
            val expected = all.filter { holds(it["category"] == "Mugs", it.price < 15, it["colour"] == "green") }
            assertEquals(expected.map { it.id }, engine.all(filter).map { it.id }, "$filter")
        }
        check(mugs and cheap or green) { m, c, g -> (m && c) || g }
        check(mugs and (cheap or green)) { m, c, g -> m && (c || g) }
        check(!(mugs or cheap) and green) { m, c, g -> !(m || c) && g }
        check(!(mugs and !cheap)) { m, c, _ -> !(m && !c) }
        check((mugs or cheap) and (green or mugs)) { m, c, g -> (m || c) && (g || m) }
        check(Filter.parse("category=Mugs or colour=green") and cheap) { m, c, g -> (m || g) && c }
    }

    @Test
    fun `user input cannot escape its quotes`() = withEngine { engine ->
        val shop = "Larkspur & Pine"
        assertTrue(engine.all(column("shop") equalTo shop).all { it["shop"] == shop })
        for (typed in listOf("x' or category='Mugs", "'", "\"", "a, b) or (c", "and", "", "日本\n", "\\'")) {
            assertEquals(emptyList<Listing>(), engine.all(column("category") equalTo typed), typed)
            assertEquals(emptyList<Listing>(), engine.all(column("category").oneOf(typed, "also not there")), typed)
        }
        assertThrows<MagpieException.Request> { engine.all(column("x' or 'y") equalTo "1") }
    }

    @Test
    fun `a long chain stays flat`() = withEngine { engine ->
        val chain = (1..200).map { column("price") notEqualTo it + 0.01 }.reduce { a, b -> a and b }
        assertEquals(engine.all(null).size, engine.all(chain).size)
    }

    @Test
    fun `invalid filters are rejected`() = withEngine { engine ->
        assertThrows<MagpieException.Request> { engine.all(Filter.parse("category =")) }
        assertThrows<MagpieException.Request> { engine.all(column("no such column") equalTo "x") }
        assertThrows<MagpieException.Request> { engine.all(column("colour") lessThan 3) }
        assertThrows<MagpieException.Request> { engine.all(column("price") equalTo "cheap") }
        assertThrows<IllegalArgumentException> { column("price") lessThan Double.NaN }
        assertThrows<IllegalArgumentException> { column("price") lessThan Double.POSITIVE_INFINITY }
        assertThrows<IllegalArgumentException> { column("price").oneOf() }
    }

    @Test
    fun `filters with the same text are equal`() {
        assertEquals(
            "'price' < '50' and not 'shop' in ('Ann''s', 'B')",
            "${(column("price") lessThan 50) and !column("shop").oneOf("Ann's", "B")}",
        )
        assertEquals(column("a") equalTo "1", column("a") equalTo 1)
        assertEquals((column("a") equalTo "1").hashCode(), (column("a") equalTo 1).hashCode())
        assertNotEquals(column("a") equalTo "1", column("b") equalTo "1")
    }
}
