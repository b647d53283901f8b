"""The yardstick: load a model and run it once, with nothing of edge-inspect.

`python bare.py model.tflite` prints when the first result was there (seconds since the epoch), the CPU seconds spent
until then and the resident memory (MiB).
"""

import sys
import time

import numpy as np
from ai_edge_litert.interpreter import Interpreter

interpreter = Interpreter(model_path=sys.argv[1], num_threads=1)
interpreter.allocate_tensors()
details = interpreter.get_input_details()[0]
interpreter.set_tensor(details["index"], np.zeros(details["shape"], details["dtype"]))
interpreter.invoke()
interpreter.get_tensor(interpreter.get_output_details()[-1]["index"])
done, cpu = time.time(), time.process_time()
with open("/proc/self/status", encoding="ascii") as status:  # noqa: PTH123 - nothing else may be imported
    kib = next(line.split()[1] for line in status if line.startswith("VmRSS:"))
print(done, cpu, int(kib) / 1024)
