# Works virt-manager as somebody with a mouse does, through the interface for assistive technology (AT-SPI): a volume is made with "+"
# in the pool of the gateway. Says what it does; the status is 0 when virt-manager shows the volume.
import os
import subprocess
import sys
import time

from dogtail.config import config

config.checkForA11y = False
config.logDebugToFile = False
config.logDebugToStdOut = False
config.actionDelay = 0.2
config.searchCutoffCount = 1

from dogtail import tree  # noqa: E402 (it reads the settings above)

PATIENCE = float(os.environ.get("PATIENCE", "60"))
VOLUME = os.environ["VOLUME"]


def until(what, look):
    end = time.monotonic() + PATIENCE
    while True:
        try:
            found = look()
            if found:
                print(what, flush=True)
                return found
        except Exception as error:  # whatever is not there yet
            last = error
        else:
            last = None
        if time.monotonic() > end:
            picture("virt-manager-failed")
            raise SystemExit(f"not there: {what} ({last})")
        time.sleep(0.2)


def picture(name):
    folder = os.environ.get("PICTURES")
    if folder:
        subprocess.run(["import", "-window", "root", os.path.join(folder, name + ".png")], check=False)


def find(root, name, role):
    return root.findChild(lambda node: node.roleName == role and node.name == name, retry=False, requireResult=False)


def act(node):
    node.doActionNamed("click")


app = until("virt-manager is there", lambda: tree.root.application("virt-manager", retry=False))
window = until("the window of the connection", lambda: app.findChild(
    lambda node: node.roleName == "frame" and "Connection Details" in node.name, retry=False))
tab = until("the tab Storage", lambda: find(window, "Storage", "page tab"))
tab.click()
pool = until("the pool", lambda: window.findChild(
    lambda node: node.roleName == "table cell" and node.name.split("\n")[0].strip() == "gemel", retry=False))
pool.click()
new = until("the button +", lambda: (lambda node: node if node and node.sensitive else None)(find(window, "vol-new", "push button")))
act(new)
dialog = until("the dialog", lambda: app.findChild(
    lambda node: node.roleName in ("frame", "dialog") and "Storage Volume" in node.name, retry=False))
name = until("the name", lambda: dialog.findChild(
    lambda node: node.roleName == "text" and (node.name == "Name:" or node.text == "vol"), retry=False))
name.text = VOLUME
picture("virt-manager-dialog")
act(until("Finish", lambda: find(dialog, "Finish", "push button")))
until("the volume in the list", lambda: window.findChild(
    lambda node: node.roleName == "table cell" and node.name == VOLUME, retry=False))
time.sleep(0.5)  # for the picture only: the dialog fades
picture("virt-manager")
sys.exit(0)
