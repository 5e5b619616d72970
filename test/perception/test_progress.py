from impatient_ros.perception.progress import throttled


def test_the_first_the_last_and_one_in_every_period_are_said():
    said, time = [], [50.0]
    report = throttled(said.append, period=1.0, now=lambda: time[0])
    for tenth in range(21):  # 2 s in all, one every 0.1 s
        report(tenth / 20, f'step {tenth}')
        time[0] += 0.125
    assert said == ['  0% step 0', ' 40% step 8', ' 80% step 16', '100% step 20']
