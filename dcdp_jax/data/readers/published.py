"""Sizes and SHA-256 of the data files that the publishers of OPPORTUNITY and PAMAP2 ship."""

from dcdp_jax.data.readers.reading import PublishedFile

OPPORTUNITY = {
    name: PublishedFile(*facts)
    for name, facts in {
        "S1-ADL1.dat": (51_803_164, "2b247432acbe4d3970f052c1e3e7ff8d2fc98ba5c49f95e2a0d63a32c553aab8"),
        "S1-ADL2.dat": (32_761_206, "cb7951936acb4637e27b3c8c95480341354a93ba90a5cce232526279d2f127ba"),
        "S1-ADL3.dat": (33_899_243, "118378e10af6bf042a65f7d14234993b9e1229ef12b4dc75afff1a79760f7132"),
        "S1-ADL4.dat": (34_242_592, "283cf48e4114b4fb05a7def13c29b5497a0e02947ca5855d831fc68b72eec1c8"),
        "S1-ADL5.dat": (30_729_238, "8519f3a4c09ee10c67215aef53520152355ddadf0d70b5b708998478b0c53a1c"),
        "S1-Drill.dat": (56_321_443, "26b5e4d9f40243cc64471592bf86a5a282b0bde864b1efcdd5699d5a7f00bf42"),
        "S2-ADL1.dat": (43_165_447, "38d76a30b49b6fff3dcc77cec676a19de5c252ed14c10b7400b4666997fa7f1f"),
        "S2-ADL2.dat": (30_710_584, "b30f15e8a1927cd19427e2b1028bc787df06810466fd548523fc6a11e2d01aed"),
        "S2-ADL3.dat": (34_808_274, "64eca28aa6cefc38e6362510f95d2a770d3a4e6c8b2326fd6608d7c10707240e"),
        "S2-ADL4.dat": (33_124_185, "25cd0d6eb7e0fd9a9786d213ffdac131f06a5279e24d78ff50b1621a3fa205d1"),
        "S2-ADL5.dat": (32_398_053, "2300842180e2640aa9512d602c0a7ba6ee1a4ef1999889b34bceb110dc5c5c0d"),
        "S2-Drill.dat": (54_381_079, "98e7ed170e860457198fd1346f4b284d7ae5983e5de78d3924273ec47fa8e78f"),
        "S3-ADL1.dat": (37_810_795, "1b15fc4766ba9a79f8ec97c15bb4cb128e7a2fd2c08f8dcb60dec65ca543e699"),
        "S3-ADL2.dat": (28_329_759, "a61b0418486f07114719d30ea6bf119e530f233d36d8eee7da542946b0358f4a"),
        "S3-ADL3.dat": (27_222_179, "ad976087c3c428f75d5a83df82640935323b3923eb8256466c99e7d2c556590a"),
        "S3-ADL4.dat": (27_972_830, "e2502620983c38ecb78b21ca232516decc64753ad476ea242d3cbebcba20e637"),
        "S3-ADL5.dat": (27_048_082, "8c66c65e561c4b2a8fb36d40cbca36cee246d6fad6072b097fcb3ee0ed8620fa"),
        "S3-Drill.dat": (72_116_889, "3f5c13d4e52ea96f218040480e68bdf279818e7ea99d7dba7a78c12f2e21f7f1"),
        "S4-ADL1.dat": (42_129_019, "9a9a6fedd1889f9210ff3ecc0d9ee9da602bd11a3a86f629ac06273a9b8bb98a"),
        "S4-ADL2.dat": (28_272_896, "022be538306b443096667f37909d2a4a6f69222ddd2381a63160efc6ef146a04"),
        "S4-ADL3.dat": (26_254_876, "f81f5d19cf3f76e531e2af5aab2333f6a776d82202869c740ee7791c1095fd7f"),
        "S4-ADL4.dat": (22_661_204, "d2f5bd0e2f770ef8cbc0e1b11cab1ea9fe537d1bef3586dc92c395fd47b1426d"),
        "S4-ADL5.dat": (31_116_303, "1ace7199f8a5285691a58326ded0a2932ea56d8f43da537ff23db0ad359e7ef6"),
        "S4-Drill.dat": (46_154_259, "9076c861d9b5ad94345abf61659064f8e7b94e73d29518ab30e156a30555a3bd"),
    }.items()
}
PAMAP2 = {
    name: PublishedFile(*facts)
    for name, facts in {
        "Optional/subject101.dat": (121_246_257, "a8b71371406001ae563acad1d7d946ceacd0afeb51b97bfb9a9cbad95c78e52c"),
        "Optional/subject105.dat": (72_521_536, "a7c4ccd8d7e8fe21abad8c111229649ec10ca9b353cc29fcc4986c2243301adc"),
        "Optional/subject106.dat": (60_905_306, "50882fc519f01e8fe200a5a4373daff443e88624d7e8a2d31d759569823fb491"),
        "Optional/subject108.dat": (85_403_002, "e871b2e5692867f8655b69b769e866927739aa288b9da5cc9a15dc930f154336"),
        "Optional/subject109.dat": (90_594_049, "a6a8f7521d63fe80bd7f203c5ee1256a2bc8b3772f028ae767256ec1d6a93930"),
        "Protocol/subject101.dat": (141_698_539, "80b3fffd089c236ae88098df3b906b8d3c67a858023fe4f75045d78612147266"),
        "Protocol/subject102.dat": (207_349_310, "468f3c6ba3e6e961f383783665265afbcddbbd33a3a84bba0386b7d0d4e3c632"),
        "Protocol/subject103.dat": (117_863_364, "5be64631d085e3efc700728395516da3512ff9de17dab30d253508441a98d3f0"),
        "Protocol/subject104.dat": (153_227_482, "7eb272213cbfe11d9e466a2163b6c9c2ed8d2542fc6f08283fd1bf222cac8994"),
        "Protocol/subject105.dat": (173_773_599, "7837cfede57fe45ec20d553c6c2b0c498ab324daae23bfd202c0ffea9f71a7f6"),
        "Protocol/subject106.dat": (168_263_273, "0da1dda3fa56d75d6413fc9198949d3ebc2102d77574cb5fe0739674687609f2"),
        "Protocol/subject107.dat": (145_823_268, "a02195e9599eb249f79103912d27eb4f62d8a0f59e4763b0dd8250fee5f3f020"),
        "Protocol/subject108.dat": (190_019_653, "81ce6b21b9c1e01dc02099c4f9387699547b08b28b387d09a56e0cb0a8af22fc"),
        "Protocol/subject109.dat": (3_891_140, "5109d5cd8334769566b4ae602adf3e5f4bb7b9ee8ca678f0c481d333114b07c7"),
    }.items()
}
