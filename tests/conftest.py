"""What holds for every test: the signals that tests send arrive, however the run itself was started."""

import signal

# A job in the background of a shell ignores SIGINT, one under nohup SIGHUP, and so would all that it starts.
for _number, _usual in ((signal.SIGINT, signal.default_int_handler), (signal.SIGHUP, signal.SIG_DFL)):
    if signal.getsignal(_number) is signal.SIG_IGN:
        signal.signal(_number, _usual)
