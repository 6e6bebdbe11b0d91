#!/usr/bin/env python3
"""Exits with 0 if the Jupyter server answers and the kernel "advlab" can be started, else with 1 and the reason.

Run it with the Python of the image's environment, as the user who runs the server.
"""

import glob
import json
import os
import shutil
import sys
import urllib.request

from jupyter_client.kernelspec import KernelSpecManager, NoSuchKernel
from jupyter_core.paths import jupyter_runtime_dir

try:
    spec = KernelSpecManager().get_kernel_spec("advlab")
except NoSuchKernel as error:
    sys.exit(f"no kernelspec: {error}")
if shutil.which(spec.argv[0]) is None:
    sys.exit(f"the kernelspec names {spec.argv[0]}, which cannot be executed")

# The server writes its address, with its port and its base URL, into its runtime directory.
servers = sorted(glob.glob(os.path.join(jupyter_runtime_dir(), "jpserver-*.json")), key=os.path.getmtime)
if not servers:
    sys.exit("no Jupyter server is running")
with open(servers[-1], encoding="utf-8") as file:
    server = json.load(file)
# Where it listens on all addresses, it answers on the loopback interface; a proxy of the container must not come between.
opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
scheme = "https" if server.get("secure") else "http"
address = f"{scheme}://127.0.0.1:{server['port']}{server['base_url']}api"
try:
    with opener.open(address, timeout=5) as answer:
        print("server", json.load(answer)["version"], "kernel", spec.display_name)
except (OSError, ValueError, KeyError) as error:
    sys.exit(f"{address}: {error}")
