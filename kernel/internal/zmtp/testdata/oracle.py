"""libzmq, through pyzmq, on the other side of package zmtp: one command on each line of standard input, one line of
JSON for each on standard output. Parts travel in hexadecimal."""
import json
import sys

import zmq

context = zmq.Context()
sockets = {}
context.setsockopt(zmq.LINGER, 0)

for line in sys.stdin:
    q = json.loads(line)
    do, name = q["do"], q.get("name")
    answer = {}
    if do == "open":
        s = sockets[name] = context.socket(getattr(zmq, q["kind"]))
        s.setsockopt(zmq.RCVTIMEO, 20000)
        if q.get("identity"):
            s.setsockopt(zmq.IDENTITY, q["identity"].encode())
        if q["kind"] == "SUB":
            s.setsockopt(zmq.SUBSCRIBE, q.get("subscribe", "").encode())
        if q.get("bind"):
            s.bind(q["bind"])
            answer["at"] = s.getsockopt(zmq.LAST_ENDPOINT).rstrip(b"\0").decode()
        else:
            s.connect(q["connect"])
    elif do == "send":
        sockets[name].send_multipart([bytes.fromhex(p) for p in q["parts"]])
    elif do == "receive":
        answer["parts"] = [p.hex() for p in sockets[name].recv_multipart()]
    elif do == "flood":  # receive n messages, say how many bytes they had and whether they were in order
        n, size, order = 0, 0, True
        while n < q["n"]:
            parts = sockets[name].recv_multipart()
            order = order and int.from_bytes(parts[0], "big") == n
            n += 1
            size += sum(len(p) for p in parts)
        answer = {"bytes": size, "order": order}
    elif do == "cycle":  # connect, subscribe, close
        for _ in range(q["n"]):
            s = context.socket(zmq.SUB)
            s.setsockopt(zmq.SUBSCRIBE, b"")
            s.connect(q["connect"])
            s.close(0)
    elif do == "close":
        sockets.pop(name).close(0)
    elif do == "version":
        answer["zmq"] = zmq.zmq_version()
    print(json.dumps(answer), flush=True)
