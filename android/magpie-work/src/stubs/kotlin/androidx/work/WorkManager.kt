/*
 * The part of WorkManager 2.10 that CatalogWorker uses, so that it can be compiled where Google's repository is not
 * at hand. Only Maven sees this; Gradle compiles against the real library. Nothing here is ever run.
 */
package androidx.work

import android.content.Context
import java.util.concurrent.TimeUnit

public class WorkerParameters internal constructor()

public abstract class ListenableWorker(context: Context, parameters: WorkerParameters) {
    public abstract class Result internal constructor() {
        public companion object {
            @JvmStatic
            public fun success(): Result = throw UnsupportedOperationException()

            @JvmStatic
            public fun retry(): Result = throw UnsupportedOperationException()

            @JvmStatic
            public fun failure(): Result = throw UnsupportedOperationException()
        }
    }
}

public abstract class CoroutineWorker(context: Context, parameters: WorkerParameters) :
    ListenableWorker(context, parameters) {
    public abstract suspend fun doWork(): Result
}

public enum class NetworkType { CONNECTED, UNMETERED }

public enum class ExistingPeriodicWorkPolicy { KEEP }

public class Constraints internal constructor() {
    public class Builder {
        public fun setRequiredNetworkType(networkType: NetworkType): Builder = this

        public fun setRequiresBatteryNotLow(requiresBatteryNotLow: Boolean): Builder = this

        public fun build(): Constraints = Constraints()
    }
}

public class PeriodicWorkRequest internal constructor() {
    public class Builder(workerClass: Class<out ListenableWorker>, repeatInterval: Long, unit: TimeUnit) {
        public fun setConstraints(constraints: Constraints): Builder = this

        public fun build(): PeriodicWorkRequest = PeriodicWorkRequest()
    }
}

public abstract class WorkManager internal constructor() {
    public abstract fun enqueueUniquePeriodicWork(
        uniqueWorkName: String,
        existingPeriodicWorkPolicy: ExistingPeriodicWorkPolicy,
        periodicWork: PeriodicWorkRequest,
    )

    public companion object {
        @JvmStatic
        public fun getInstance(context: Context): WorkManager = throw UnsupportedOperationException()
    }
}
