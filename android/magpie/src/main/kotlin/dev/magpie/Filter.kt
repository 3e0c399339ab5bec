package dev.magpie

import java.math.BigDecimal

/**
 * A condition on the listings of a catalogue. [EngineInfo.columns] lists the columns that it can name.
 *
 * ```kotlin
 * val cheapMugs = (column("category") equalTo "Mugs") and (column("price") lessThan 50)
 * val red = column("colour").oneOf("red", "wine red")
 * engine.search(photo, SearchOptions(filter = cheapMugs and !red))
 * ```
 *
 * Names and values are quoted, so a value may be any text that a user typed. [toString] returns the filter in the
 * filter language.
 */
public class Filter private constructor(private val text: String, private val shape: Shape) {
    private enum class Shape { SINGLE, AND, OR }

    /** Both conditions hold. */
    public infix fun and(other: Filter): Filter =
        Filter("${within(Shape.AND)} and ${other.within(Shape.AND)}", Shape.AND)

    /** At least one of the conditions holds. */
    public infix fun or(other: Filter): Filter = Filter("${within(Shape.OR)} or ${other.within(Shape.OR)}", Shape.OR)

    /** The condition does not hold. */
    public operator fun not(): Filter = Filter("not ${within(Shape.SINGLE)}", Shape.SINGLE)

    /** Returns the filter in the filter language. */
    override fun toString(): String = text

    override fun equals(other: Any?): Boolean = other is Filter && other.text == text

    override fun hashCode(): Int = text.hashCode()

    /** The text as an operand: in parentheses only if precedence requires it, as nesting depth is limited. */
    private fun within(outer: Shape): String = if (shape == Shape.SINGLE || shape == outer) text else "($text)"

    public companion object {
        /** Returns a filter written in the filter language, such as `category=Mugs and price<50`. Searches parse it. */
        public fun parse(text: String): Filter = Filter(text, Shape.OR)

        internal fun comparison(column: String, symbol: String, value: String): Filter =
            Filter("${quoted(column)} $symbol ${quoted(value)}", Shape.SINGLE)

        internal fun oneOf(column: String, values: List<String>): Filter {
            require(values.isNotEmpty()) { "oneOf needs at least one value" }
            return Filter(values.joinToString(", ", "${quoted(column)} in (", ")") { quoted(it) }, Shape.SINGLE)
        }

        private fun quoted(text: String): String = "'" + text.replace("'", "''") + "'"
    }
}

/** Returns a filter column of the catalogue, to compare with values. */
public fun column(name: String): ColumnName = ColumnName(name)

/**
 * The name of a filter column; see [column].
 *
 * Words are compared exactly as they are in the catalogue. Only number columns can be compared by size.
 *
 * @property name the column's name
 */
@JvmInline
public value class ColumnName internal constructor(public val name: String) {
    /** The value is this word. */
    public infix fun equalTo(value: String): Filter = Filter.comparison(name, "=", value)

    /** The value is this number. */
    public infix fun equalTo(value: Number): Filter = Filter.comparison(name, "=", digits(value))

    /** The value is another word, or the listing has no value. */
    public infix fun notEqualTo(value: String): Filter = Filter.comparison(name, "!=", value)

    /** The value is another number, or the listing has no value. */
    public infix fun notEqualTo(value: Number): Filter = Filter.comparison(name, "!=", digits(value))

    /** The value is less than this number. */
    public infix fun lessThan(value: Number): Filter = Filter.comparison(name, "<", digits(value))

    /** The value is at most this number. */
    public infix fun atMost(value: Number): Filter = Filter.comparison(name, "<=", digits(value))

    /** The value is greater than this number. */
    public infix fun greaterThan(value: Number): Filter = Filter.comparison(name, ">", digits(value))

    /** The value is at least this number. */
    public infix fun atLeast(value: Number): Filter = Filter.comparison(name, ">=", digits(value))

    /** The value is one of these words. */
    public fun oneOf(vararg values: String): Filter = Filter.oneOf(name, values.toList())

    /** The value is one of these words. */
    public infix fun oneOf(values: Collection<String>): Filter = Filter.oneOf(name, values.toList())

    /** The number in plain decimal notation, independent of the locale. NaN and infinity are rejected. */
    private fun digits(value: Number): String {
        val double = value.toDouble()
        require(double.isFinite()) { "$name cannot be compared with $value" }
        return BigDecimal(value.toString()).toPlainString()
    }
}
