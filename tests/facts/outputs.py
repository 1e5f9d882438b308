"""One good output of every kind that npu-smi does not print, for tests that spoil it."""

from __future__ import annotations

_HCCN = "/usr/local/Ascend/driver/tools/hccn_tool -i 0"

OUTPUTS: dict[str, str] = {
    "driver-version": "Version=25.5.1\nInnerversion=V100R001C23SPC005B220\ncompatible_version_fw=[7.0.0,7.8.99]\n",
    "firmware-version": "Version=7.8.0.5.216\npackage_version=25.5.1\ncompatible_version_drv=[25.5.0,25.5.0.]\n",
    "ascend-install-info": "UserName=root\nDriver_Install_Path_Param=/usr/local/Ascend\nDriver_Install_Type=full\n",
    "ascend-install-log": "[Driver] [2025-07-17 10:35:21] [INFO]Driver package installed successfully!\n",
    "cann-version": "package_name=Ascend-cann-toolkit\nversion=8.5.0\narch=aarch64\n",
    "hccn-conf": "address_0=29.1.0.10\nnetmask_0=255.255.0.0\naddress_1=29.1.0.11\n",
    "hccn-link": "link status: UP\nlink status: DOWN\n",
    "hccn-net-health": "net health status: Success\nnet health status: Init\n",
    "hccn-ip": "ipaddr:29.1.112.213\nnetmask:255.255.0.0\n",
    "hccn-vnic": "vnic link status: UP\nvnic ipaddr: 192.168.2.199\nvnic netmask: 255.255.255.0\n",
    "hccn-tls": "dev_id:0, tls switch[0](0:disable, 1:enable), tls preconfigured[1](0:non-preset, 1:preset)\n",
    "hccn-gateway": "default gateway:29.1.0.1, Iface:eth3\n",
    "hccn-netdetect": "netdetect address: 29.1.0.1\n",
    "hccn-lldp": "Chassis ID TLV\n\tMAC: 48:dc:2d:11:22:33\nPort ID TLV\n\tIfname: 400GE1/1/20:2\nEnd of LLDPDU TLV\n",
    "hccn-link-stat": "[devid 0]current time        : Wed Aug  2 03:36:43 2022\n[devid 0]link up count       : 2\n"
    "[devid 0]    Tue Aug  1 14:44:40 2022    LINK DOWN\n",
    "hccn-stat": "packet statistics:\nroce_rx_err_pkt_num:0\nroce_tx_err_pkt_num:4\n",
    "hccn-fec": "fec mode: rs FEC mode\n",
    "hccn-optical": "optical info:\npresent              : present\nTx Power0 : 1.1021 mW\nRx Los Flag : 0x0\n",
    "hccn-route": "Routing table:\ndefault         29.1.0.1        0.0.0.0         UG    0      0        0 eth3\n",
    "hccn-status": "Netdev status:Settings for eth3:\n\tSpeed: 200000Mb/s\n\tSupports auto-negotiation: No\n",
    "hccn-ping": "device 3 PING 29.1.137.205\nrecv seq=0,time=1.418000ms\n"
    "1 packets transmitted, 1 received, 0.00% packet loss\n",
    "hccn-set": "Cmd executed successfully!\n",
    "lspci": "3d:00.0 Processing accelerators: Huawei Technologies Co., Ltd. Device d801 (rev 20)\n",
    "davinci-devices": "crw-rw----. 1 root root 510, 1  /dev/davinci1\n",
    "kernel-log": "[    3.1] [ascend][ERROR][devdrv][imu_notifier 173] Get mntn message. (exception_id=0xa6193215)\n",
    "hccl-tools-log": "device_id: 0, device_ip_info: ['ipaddr:10.0.245.11\\n', 'netmask:255.255.255.0\\n']\n",
    "ascend-messages": "dcmi module initialize failed. ret is -8005\n",
    "collected": f"{_HCCN} -ip -g\nipaddr:10.10.0.10\nnetmask:255.255.255.0\n\n{_HCCN} -link -g\nlink status: UP\n",
}
