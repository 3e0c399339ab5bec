package dev.magpie

/**
 * Why a call failed, grouped by what the caller can do about it. [message] is English for developers, not for users.
 *
 * A cancelled call throws [kotlinx.coroutines.CancellationException] instead, as all suspending functions do.
 *
 * ```kotlin
 * try {
 *     show(engine.search(photo))
 * } catch (e: MagpieException.Photo) {
 *     askForAnotherPhoto()
 * }
 * ```
 */
public sealed class MagpieException(message: String, cause: Throwable? = null) : Exception(message, cause) {
    /** The photo or frame cannot be used, or the crop exceeds it: try another one. */
    public class Photo(message: String, cause: Throwable? = null) : MagpieException(message, cause)

    /** The catalogue cannot be used: download it again, or update the app. */
    public class Catalog(message: String, cause: Throwable? = null) : MagpieException(message, cause)

    /** The model pack cannot be used, or the catalogue was built with another model: install both again. */
    public class Model(message: String, cause: Throwable? = null) : MagpieException(message, cause)

    /** The request cannot be answered: for example, the filter is invalid or the listing does not exist. */
    public class Request(message: String, cause: Throwable? = null) : MagpieException(message, cause)

    /** A file could not be read. */
    public class File(message: String, cause: Throwable? = null) : MagpieException(message, cause)

    /** The [SearchEngine] was closed before the call. */
    public class Closed(message: String, cause: Throwable? = null) : MagpieException(message, cause)

    /** There is no native library for this CPU or machine: hide visual search. */
    public class Unsupported(message: String, cause: Throwable? = null) : MagpieException(message, cause)

    /** A defect of the library: please report it. */
    public class Internal(message: String, cause: Throwable? = null) : MagpieException(message, cause)
}
