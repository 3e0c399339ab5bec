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

    /** A file could not be read or written. */
    public class File(message: String, cause: Throwable? = null) : MagpieException(message, cause)

    /** The catalogue is for another model than this engine has: open a new engine, which takes both. */
    public class OtherModel(message: String, cause: Throwable? = null) : MagpieException(message, cause)

    /** The release, or its keys, are not signed by enough of the trusted keys: do not use this source. */
    public class Untrusted(message: String, cause: Throwable? = null) : MagpieException(message, cause)

    /**
     * The release has expired, or is older than one that was seen before: ask again later. The source does not renew
     * its copy, or the phone's clock is wrong.
     */
    public class Outdated(message: String, cause: Throwable? = null) : MagpieException(message, cause)

    /** The release is for another catalogue or model, or for a later version of the app: update the app. */
    public class NotForThisApp(message: String, cause: Throwable? = null) : MagpieException(message, cause)

    /** What was downloaded is not what it should be, or nothing came: try again, from another network or source. */
    public class Download(message: String, cause: Throwable? = null) : MagpieException(message, cause)

    /** Another update of this folder is under way, in this process or another: try again later. */
    public class Busy(message: String, cause: Throwable? = null) : MagpieException(message, cause)

    /** There is too little free space: free some, then update again. What was received is kept. */
    public class NoSpace(message: String, cause: Throwable? = null) : MagpieException(message, cause)

    /** The [SearchEngine] was closed before the call. */
    public class Closed(message: String, cause: Throwable? = null) : MagpieException(message, cause)

    /** There is no native library for this CPU or machine: hide visual search. */
    public class Unsupported(message: String, cause: Throwable? = null) : MagpieException(message, cause)

    /** A defect of the library: please report it. */
    public class Internal(message: String, cause: Throwable? = null) : MagpieException(message, cause)
}
