import threading
import time
import unittest

from paddock_jobs import Cancelled, Fail, Worker

from server import FakeServer


class WorkerTest(unittest.TestCase):
    def setUp(self) -> None:
        self.server = FakeServer()
        self.addCleanup(self.server.close)

    def start(self, worker: Worker) -> threading.Thread:
        thread = threading.Thread(target=worker.run, kwargs={"signals": False}, daemon=True)
        thread.start()
        self.addCleanup(thread.join, 30)
        self.addCleanup(worker.stop)
        return thread

    def worker(self, **options) -> Worker:
        options.setdefault("poll", 1)
        return Worker(self.server.url, "pdk_x", name="tester", **options)

    def ended(self, job: str):
        self.server.until(lambda: job in self.server.ended)
        return self.server.ended[job]

    def test_a_handler_gets_its_input_and_its_result_is_reported_under_the_attempt(self) -> None:
        self.start(self.worker().handle("double", lambda job: {"n": job.input["n"] * 2}))
        self.server.add("a", input={"n": 21}, attempt=3)
        self.assertEqual(self.ended("a"), ("complete", {"id": "a", "attempt": 3, "result": {"n": 42}}))
        claim = next(body for _, path, _, body in self.server.requests if path.endswith("claim"))
        self.assertEqual((claim["worker"], claim["kinds"], claim["lease"]), ("tester", ["double"], 30))
        headers = self.server.requests[0][2]
        self.assertEqual(headers["Authorization"], "Bearer pdk_x")

    def test_failures_say_what_they_are_and_whether_trying_again_helps(self) -> None:
        def handler(job):
            if job.id == "a":
                raise Fail("not a PNG", kind="bad-image", retry=False)
            if job.id == "b":
                raise Fail("busy", retry_after=5)
            raise ValueError("seven")

        self.start(self.worker().handle("double", handler))
        for job in "abc":
            self.server.add(job)
        with self.assertLogs("paddock_jobs", "ERROR"):
            way, failure = self.ended("c")
        self.assertEqual((way, failure["class"], failure["message"]), ("fail", "ValueError", "seven"))
        self.assertEqual(self.ended("a")[1]["class"], "bad-image")
        self.assertFalse(self.ended("a")[1]["retry"])
        self.assertEqual(self.ended("b")[1]["retry_after"], 5)

    def test_jobs_run_side_by_side_and_no_more_than_may(self) -> None:
        release, most, now, lock = threading.Event(), [0], [0], threading.Lock()

        def handler(_):
            with lock:
                now[0] += 1
                most[0] = max(most[0], now[0])
            release.wait(30)
            with lock:
                now[0] -= 1

        self.start(self.worker(concurrency=3).handle("double", handler))
        for job in range(10):
            self.server.add(str(job))
        while now[0] < 3:
            time.sleep(0.01)
        self.assertEqual(len(self.server.queued), 7)
        release.set()
        for job in range(10):
            self.ended(str(job))
        self.assertEqual(most[0], 3)

    def test_progress_goes_out_and_a_cancellation_comes_in_with_the_heartbeat(self) -> None:
        def handler(job):
            job.progress(40, "half", {"page": 2})
            while True:
                job.sleep(0.05)
                if any("progress" in beat for beat in self.server.beats):
                    job.progress(41)

        self.start(self.worker().handle("double", handler))
        self.server.add("a")
        self.server.until(lambda: any("progress" in beat for beat in self.server.beats))
        beat = next(beat for beat in self.server.beats if "progress" in beat)
        self.assertEqual(beat["progress"], {"percent": 40.0, "message": "half", "data": {"page": 2}})
        with self.server.changed:
            self.server.beat_status["a"] = "cancel"
        self.assertEqual(self.ended("a")[1]["class"], "cancelled")

    def test_what_came_of_a_lost_attempt_is_not_reported(self) -> None:
        seen = threading.Event()

        def handler(job):
            try:
                while True:
                    job.sleep(0.05)
                    job.progress(1)
            except Cancelled:
                self.assertEqual(job.reason, "lost")
                seen.set()
                raise

        self.server.beat_status["a"] = "lost"
        worker = self.worker(lease=5).handle("double", handler)
        thread = self.start(worker)
        self.server.add("a")
        self.assertTrue(seen.wait(30))
        worker.stop()
        thread.join(30)
        self.assertNotIn("a", self.server.ended)

    def test_a_job_whose_time_is_up_is_told(self) -> None:
        self.start(self.worker().handle("double", lambda job: job.sleep(60)))
        self.server.add("a", deadline="2020-01-01T00:00:00.5Z")
        self.assertEqual(self.ended("a")[1]["class"], "timeout")

    def test_stopping_lets_running_jobs_end_and_takes_no_more(self) -> None:
        begun, release = threading.Event(), threading.Event()

        def handler(_):
            begun.set()
            release.wait(30)
            return "done"

        worker = self.worker(concurrency=1).handle("double", handler)
        thread = self.start(worker)
        self.server.add("a")
        self.assertTrue(begun.wait(30))
        worker.stop()
        self.server.add("b")
        release.set()
        thread.join(30)
        self.assertFalse(thread.is_alive())
        self.assertEqual(self.server.ended["a"][1]["result"], "done")
        self.assertEqual([job["id"] for job in self.server.queued], ["b"])

    def test_a_job_that_outlasts_the_grace_is_given_back(self) -> None:
        begun = threading.Event()

        def handler(job):
            begun.set()
            job.sleep(60)

        worker = self.worker(grace=0).handle("double", handler)
        thread = self.start(worker)
        self.server.add("a")
        self.assertTrue(begun.wait(30))
        worker.stop()
        thread.join(30)
        self.assertEqual(self.server.ended["a"][1]["class"], "shutdown")
        self.assertTrue(self.server.ended["a"][1]["retry"])

    def test_a_server_that_is_away_for_a_moment_loses_nothing(self) -> None:
        refusals = {"/jobs/work/claim": 2, "/jobs/work/complete": 2}

        def intercept(_, path):
            if refusals.get(path, 0) > 0:
                refusals[path] -= 1
                return 503, {"retry-after": "0"}, {"type": "urn:paddock:problem:overloaded", "detail": "busy"}
            return None

        self.server.intercept = intercept
        self.server.add("a")
        with self.assertLogs("paddock_jobs", "WARNING"):
            self.start(self.worker().handle("double", lambda job: 1))
            self.assertEqual(self.ended("a")[1]["result"], 1)

    def test_a_result_that_is_no_json_fails_its_job_and_no_other(self) -> None:
        results = {"a": object(), "b": float("nan"), "c": 3}
        self.start(self.worker().handle("double", lambda job: results[job.id]))
        with self.assertLogs("paddock_jobs", "ERROR"):
            for job in "abc":
                self.server.add(job)
            refused = self.ended("a")[1]
            self.ended("b")
        self.assertEqual((refused["class"], refused["retry"]), ("result-refused", False))
        self.assertEqual(self.ended("c")[1]["result"], 3)

    def test_a_key_that_may_not_work_ends_the_worker(self) -> None:
        self.server.intercept = lambda *_: (403, {}, {"type": "urn:paddock:problem:forbidden", "detail": "no"})
        with self.assertRaisesRegex(Exception, "403 forbidden"):
            self.worker().handle("double", lambda job: 1).run(signals=False)

    def test_a_worker_without_handlers_is_a_mistake(self) -> None:
        with self.assertRaises(ValueError):
            self.worker().run(signals=False)


if __name__ == "__main__":
    unittest.main()
