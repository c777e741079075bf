# Two tasks that look for the server of the test, of which one asks for a network.

require probe.inc

def reached(d):
    import socket
    try:
        socket.create_connection(("127.0.0.1", int(d.getVar("PROBE_PORT"))), timeout=10).close()
    except OSError:
        return "no"
    return "yes"

python do_compile() {
    bb.plain(f"reached without network: {reached(d)}")
}

do_online[network] = "1"
python do_online() {
    bb.plain(f"reached with network: {reached(d)}")
}
addtask online after do_compile before do_build
