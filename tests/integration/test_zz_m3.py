import time, random, signal, threading
from test_mirror_tiers import *
from background import Load
@pytest.mark.parametrize("tier", ["watch"])
@pytest.mark.parametrize("n", [1,2,3])
def test_hup3(begin, open_nomad, tmp_path, tier, n):
    conf = tmp_path/"c.conf"; conf.write_text('ttl = "1s"\n')
    nomad=open_nomad()
    daemon, client, nomad, truth = begin(f"--config={conf}", f"--mirror={tier}", "--log-level=debug", "--log-queries=errors", nomad=nomad, tier=tier)
    dice=random.Random()
    load = Load(daemon.port, truth, rate=300, is_external=False)
    for i in range(60):
        conf.write_text(dice.choice(['ttl = "1s"\n','ttl = "5s"\nsettle = "0s"\n','negative-ttl = "1s"\nfilter = "\\"zz\\" not in Tags"\n','preload = "off"\n','nonsense = 7\n','ttl = "0s"\n', 'namespace = ["default", "prod"]\n']))
        daemon.signal(signal.SIGHUP)
        truth.register(instance(f"svc{i%12}", f"10.37.0.{i+1}", Namespace=("default","prod")[i%2]))
        time.sleep(0.05)
    time.sleep(1)
    tally=load.stop(); print(tally, load.lost[:5], load.unknown_failures[:3])
    base=time.monotonic()-time.time()
    for l in load.lost: 
        import datetime
        print(l[1], datetime.datetime.utcfromtimestamp(l[3]-base).isoformat(), l[2])
    print(daemon.output()[:40000])
    assert not load.lost
