import unittest

from paddock_jobs import Client, ConnectionFailed, PaddockError

from server import FakeServer


class ClientTest(unittest.TestCase):
    def setUp(self) -> None:
        self.server = FakeServer()
        self.addCleanup(self.server.close)

    def test_a_job_is_handed_over_with_what_was_said_alone(self) -> None:
        with Client(self.server.url) as client:
            job = client.enqueue("resize", {"w": 1}, queue="low", unique_key="k")
        self.assertEqual(job["id"], "a")
        method, path, headers, body = self.server.requests[0]
        self.assertEqual((method, path), ("POST", "/jobs"))
        self.assertEqual(body, {"kind": "resize", "input": {"w": 1}, "queue": "low", "unique_key": "k"})
        self.assertNotIn("Authorization", headers)

    def test_a_request_that_is_repeated_is_the_same_one(self) -> None:
        answers = [(503, {"retry-after": "0"}, {}), None]
        self.server.intercept = lambda *_: answers.pop(0)
        with Client(self.server.url) as client:
            client.enqueue(tool="analysis_run", input={"url": "https://a/"})
        keys = {request[2]["Idempotency-Key"] for request in self.server.requests}
        self.assertEqual((len(self.server.requests), len(keys)), (2, 1))

    def test_a_refusal_says_why(self) -> None:
        problem = {"type": "urn:paddock:problem:invalid-request", "detail": "`queue`: no such", "field": "queue"}
        self.server.intercept = lambda *_: (400, {}, problem)
        with self.assertRaises(PaddockError) as caught:
            Client(self.server.url).enqueue("resize")
        error = caught.exception
        self.assertEqual((error.status, error.slug, error.problem["field"]), (400, "invalid-request", "queue"))

    def test_a_list_is_read_page_by_page(self) -> None:
        pages = [(200, {}, {"items": [{"id": "a"}], "next": "c/1"}), (200, {}, {"items": [{"id": "b"}]})]
        self.server.intercept = lambda *_: pages.pop(0)
        found = [job["id"] for job in Client(self.server.url).list(state="dead", queue=None)]
        self.assertEqual(found, ["a", "b"])
        self.assertEqual([request[1] for request in self.server.requests], ["/jobs?state=dead", "/jobs?cursor=c%2F1"])

    def test_waiting_asks_until_the_end_or_the_time_is_up(self) -> None:
        states = ["running", "running", "succeeded"]
        self.server.intercept = lambda *_: (200, {}, {"id": "a", "state": states.pop(0) if states else "running"})
        client = Client(self.server.url)
        self.assertEqual(client.wait("a")["state"], "succeeded")
        with self.assertRaises(TimeoutError):
            client.wait("a", timeout=0)

    def test_a_server_that_is_not_there_is_said(self) -> None:
        url = self.server.url
        self.server.close()
        with self.assertRaises(ConnectionFailed):
            Client(url, retries=0).get("a")

    def test_what_is_no_server_is_refused(self) -> None:
        for url in ("ftp://a", "http://", "http://user:pw@a"):
            with self.assertRaises(ValueError):
                Client(url)


if __name__ == "__main__":
    unittest.main()
