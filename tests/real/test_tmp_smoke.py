def test_x(cluster):
    assert cluster.nodes
