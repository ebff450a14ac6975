"""Real power losses under load: the broker's directory is an ext4 on a loop device, which is shut down at once.

FS_IOC_SHUTDOWN without a flush of the journal: whatever was not brought to the device is gone. With log.flush.acks=all every
record that was acknowledged is there exactly once and in order after it, and so are committed offsets. It takes root and
loop devices; 3 losses, 12 with --full. Dohle's alone: Kafka has no such setting.
"""
import fcntl
import os
import struct
import subprocess

from kill9.suite import KILLS, Scenario

BROKER = False
LIMIT = 600
SETTINGS = {"log.segment.bytes": "1048576", "log.flush.acks": "all"}
SIZE = 512 << 20
FS_IOC_SHUTDOWN = 0x8004587D   # _IOR('X', 125, __u32)
NOLOGFLUSH = 2
KILLS.update({False: 3, True: 12})


def run(suite):
    disk = Disk(suite.work)
    if not disk.mount():
        for case in ("acknowledged-records-once-in-order", "committed-offsets-survive"):
            suite.case(case, lambda: "no ext4 can be mounted on a loop device here")
        return
    suite.broker = suite.new_broker(settings={"log.dirs": str(disk.folder / "data")})
    kill, start = suite.broker.kill, suite.broker.start

    def lose_power():
        if suite.broker.alive():
            disk.shut_down()
        kill()

    def start_again():
        disk.unmount()
        assert disk.mount(), "the file system cannot be mounted again"
        return start()

    suite.broker.kill, suite.broker.start = lose_power, start_again
    try:
        suite.broker.start()
        suite.folder = suite.folder.parent / "kill9"  # whose producer and check these are
        scenario = Scenario(suite)
        suite.case("acknowledged-records-once-in-order", scenario.kill_again_and_again, tries=1)
        suite.case("committed-offsets-survive", scenario.offsets_survived, tries=1)
    finally:
        kill()
        disk.unmount()


class Disk:
    def __init__(self, work):
        self.image, self.folder = work / "disk.img", work / "mnt"
        self.unmount()
        self.folder.mkdir(exist_ok=True)
        with open(self.image, "wb") as file:
            file.truncate(SIZE)
        self.made = quiet("mkfs.ext4", "-q", "-F", self.image)

    def mount(self):
        return self.made and quiet("mount", "-o", "loop", self.image, self.folder)

    def unmount(self):
        if os.path.ismount(self.folder):
            quiet("umount", self.folder)

    def shut_down(self):
        fd = os.open(self.folder, os.O_RDONLY)
        try:
            fcntl.ioctl(fd, FS_IOC_SHUTDOWN, struct.pack("I", NOLOGFLUSH))
        finally:
            os.close(fd)


def quiet(*argv):
    try:
        return subprocess.run([str(a) for a in argv], stderr=subprocess.DEVNULL).returncode == 0
    except FileNotFoundError:
        return False
