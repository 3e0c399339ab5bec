package dev.magpie

import java.math.BigDecimal

/**
 * A condition on the listings of a catalogue. [EngineInfo.columns] says what can be named.
 *
 * ```kotlin
 * val cheapMugs = (column("category") equalTo "Mugs") and (column("price") lessThan 50)
 * val red = column("colour").oneOf("red", "wine red")
 * engine.search(photo, SearchOptions(filter = cheapMugs and !red))
 * ```
 *
 * Names and values are quoted, so a value may be anything that a user typed. [toString] gives the text in the filter
 * language.
 */
public class Filter private constructor(private val text: String, private val shape: Shape) {
    private enum class Shape { SINGLE, AND, OR }

    /** Both hold. */
    public infix fun and(other: Filter): Filter =
        Filter("${within(Shape.AND)} and ${other.within(Shape.AND)}", Shape.AND)

    /** At least one holds. */
    public infix fun or(other: Filter): Filter = Filter("${within(Shape.OR)} or ${other.within(Shape.OR)}", Shape.OR)

    /** It does not hold. */
    public operator fun not(): Filter = Filter("not ${within(Shape.SINGLE)}", Shape.SINGLE)

    /** The text in the filter language. */
    override fun toString(): String = text

    override fun equals(other: Any?): Boolean = other is Filter && other.text == text

    override fun hashCode(): Int = text.hashCode()

    /** As a part of another: in parentheses where its words would be taken apart. Few, as their nesting is limited. */
    private fun within(outer: Shape): String = if (shape == Shape.SINGLE || shape == outer) text else "($text)"

    public companion object {
        /** A filter in the filter language, such as `category=Mugs and price<50`. It is read by the search. */
        public fun parse(text: String): Filter = Filter(text, Shape.OR)

        internal fun comparison(column: String, symbol: String, value: String): Filter =
            Filter("${quoted(column)} $symbol ${quoted(value)}", Shape.SINGLE)

        internal fun oneOf(column: String, values: List<String>): Filter {
            require(values.isNotEmpty()) { "one of which values?" }
            return Filter(values.joinToString(", ", "${quoted(column)} in (", ")") { quoted(it) }, Shape.SINGLE)
        }

        private fun quoted(text: String): String = "'" + text.replace("'", "''") + "'"
    }
}

/** A filter column of the catalogue, to compare with values. */
public fun column(name: String): ColumnName = ColumnName(name)

/**
 * The name of a filter column; see [column].
 *
 * Words are compared as they stand in the catalogue. Only columns of numbers can be compared by size.
 *
 * @property name the name
 */
@JvmInline
public value class ColumnName internal constructor(public val name: String) {
    /** The column has this word. */
    public infix fun equalTo(value: String): Filter = Filter.comparison(name, "=", value)

    /** The column has this number. */
    public infix fun equalTo(value: Number): Filter = Filter.comparison(name, "=", digits(value))

    /** The column has another word, or none. */
    public infix fun notEqualTo(value: String): Filter = Filter.comparison(name, "!=", value)

    /** The column has another number, or none. */
    public infix fun notEqualTo(value: Number): Filter = Filter.comparison(name, "!=", digits(value))

    /** The number is below this. */
    public infix fun lessThan(value: Number): Filter = Filter.comparison(name, "<", digits(value))

    /** The number is this or below. */
    public infix fun atMost(value: Number): Filter = Filter.comparison(name, "<=", digits(value))

    /** The number is above this. */
    public infix fun greaterThan(value: Number): Filter = Filter.comparison(name, ">", digits(value))

    /** The number is this or above. */
    public infix fun atLeast(value: Number): Filter = Filter.comparison(name, ">=", digits(value))

    /** The column has one of these words. */
    public fun oneOf(vararg values: String): Filter = Filter.oneOf(name, values.toList())

    /** The column has one of these words. */
    public infix fun oneOf(values: Collection<String>): Filter = Filter.oneOf(name, values.toList())

    /** In plain decimals, whatever the phone's language; not a number and infinity are refused. */
    private fun digits(value: Number): String {
        val double = value.toDouble()
        require(double.isFinite()) { "$name cannot be compared with $value" }
        return BigDecimal(value.toString()).toPlainString()
    }
}
